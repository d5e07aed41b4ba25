package embedded

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// journal is the file that keeps a registry: the requests that changed it, in order. Repeating
// them gives the same subjects, versions, deletions and settings, also where a snapshot cannot be
// put back (srfake can seed an id only once, but two subjects with one schema share it). That they
// give the same ids too is checked, not assumed.
//
// It is not safe for concurrent use.
type journal struct {
	file    string
	changes []change
	// known holds the changes whose repetition changes nothing, such as a producer registering its
	// schema at every start, so that the file grows with the schemas and not with the starts.
	known map[string]string
	// unwritten is set while the file lacks changes that the registry has, after a failed write.
	unwritten bool
}

// change is one request that the registry answered with success.
type change struct {
	Method string          `json:"method"`
	Path   string          `json:"path"` // with the query
	Body   json.RawMessage `json:"body,omitempty"`
	ID     int             `json:"id,omitempty"` // the schema's, if it was a registration
}

// journalFormat is raised when a file would mean something else than before.
const journalFormat = 1

type journalFile struct {
	Format  int      `json:"format"`
	Changes []change `json:"changes"`
}

// openJournal reads file; a missing one is an empty journal.
func openJournal(file string) (*journal, error) {
	j := &journal{file: file, known: make(map[string]string)}
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, fmt.Errorf("embedded: read kept schemas: %w", err)
	}
	var kept journalFile
	if err := json.Unmarshal(content, &kept); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRegistryState, file, err)
	}
	if kept.Format != journalFormat {
		return nil, fmt.Errorf("%w: %s has format %d, this version reads %d", ErrRegistryState, file, kept.Format, journalFormat)
	}
	for _, c := range kept.Changes {
		c.Body = compact(c.Body)
		j.learn(c)
		j.changes = append(j.changes, c)
	}
	return j, nil
}

// replay repeats all changes on an empty registry.
func (j *journal) replay(registry http.Handler) error {
	for _, c := range j.changes {
		req, err := http.NewRequest(c.Method, c.Path, nil)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrRegistryState, j.file, err)
		}
		got := apply(registry, req, c.Body)
		if got.status != http.StatusOK {
			return fmt.Errorf("%w: %s: %s %s is answered %d: %s", ErrRegistryState, j.file, c.Method, c.Path, got.status, bytes.TrimSpace(got.body.Bytes()))
		}
		if id := got.schemaID(); id != c.ID {
			return fmt.Errorf("%w: %s: %s %s had id %d and would get %d", ErrRegistryState, j.file, c.Method, c.Path, c.ID, id)
		}
	}
	return nil
}

// add keeps c, and whatever an earlier call failed to keep. When it returns nil, all is on disk.
func (j *journal) add(c change) error {
	c.Body = compact(c.Body)
	if j.learn(c) {
		j.changes = append(j.changes, c)
		j.unwritten = true
	}
	if !j.unwritten {
		return nil
	}
	content, err := json.MarshalIndent(journalFile{Format: journalFormat, Changes: j.changes}, "", "  ")
	if err != nil {
		return fmt.Errorf("embedded: keep schemas: %w", err)
	}
	if err := replaceFile(j.file, content); err != nil {
		return fmt.Errorf("embedded: keep schemas: %w", err)
	}
	j.unwritten = false
	return nil
}

// learn reports whether c changes what the changes before it left.
func (j *journal) learn(c change) bool {
	key, value := c.Path, string(c.Body) // of a setting the last value counts
	switch {
	case c.Method == http.MethodDelete:
		clear(j.known) // what was known may be gone; finding out what is not worth it
		return true
	case c.Method == http.MethodPost:
		key, value = c.Path+"\n"+string(c.Body), "registered"
	}
	if j.known[key] == value {
		return false
	}
	j.known[key] = value
	return true
}

// compact makes bodies comparable: the file has them indented.
func compact(body json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, body) != nil {
		return body
	}
	return b.Bytes()
}

// replaceFile writes a new file and renames it, so that a crash leaves the old content or the new.
func replaceFile(file string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// answer is an [http.ResponseWriter] that holds a response back.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements [http.ResponseWriter].
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// writeTo sends the response; a client that is gone does not want it.
func (a *answer) writeTo(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes())
}

// schemaID returns the id in the answer to a registration, and 0 for any other answer.
func (a *answer) schemaID() int {
	var registered struct {
		ID int `json:"id"`
	}
	if !strings.HasPrefix(a.body.String(), "{") || json.Unmarshal(a.body.Bytes(), &registered) != nil {
		return 0
	}
	return registered.ID
}
