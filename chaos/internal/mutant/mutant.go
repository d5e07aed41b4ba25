// Package mutant builds Leat with one of its safeguards taken out, by go build
// -overlay: the library itself has no switches. A fault suite that passes with such a
// build proves nothing about that safeguard.
package mutant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Mutant is Leat without one safeguard.
type Mutant struct {
	Name string
	// Without says which safeguard is missing, in the words of the design.
	Without string
	Edits   []Edit
	// Scenarios are those that must notice, the likeliest first.
	Scenarios []string
}

// Edit replaces text that is in a file exactly once.
type Edit struct {
	// File is relative to the repository's root.
	File     string
	Old, New string
}

// ErrStale says that the code has moved on and an edit does not fit any more.
var ErrStale = errors.New("the mutant does not fit the code")

// Build compiles package pkg of the module in dir into binary out, with the mutant's
// edits in the place of the files in root. extra are more arguments of go build.
func (m Mutant) Build(ctx context.Context, root, dir, pkg, out string, extra ...string) error {
	overlay, err := m.overlay(root, filepath.Dir(out))
	if err != nil {
		return err
	}
	args := append([]string{"build", "-overlay", overlay, "-o", out}, extra...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mutant %s: %w:\n%s", m.Name, err, text)
	}
	return nil
}

// overlay writes the changed files and the list that go build reads, and returns that
// list's name.
func (m Mutant) overlay(root, dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if root, err = filepath.Abs(root); err != nil {
		return "", err
	}
	texts := map[string]string{}
	for _, e := range m.Edits {
		text, seen := texts[e.File]
		if !seen {
			raw, err := os.ReadFile(filepath.Join(root, e.File))
			if err != nil {
				return "", err
			}
			text = string(raw)
		}
		if n := strings.Count(text, e.Old); n != 1 {
			return "", fmt.Errorf("%w: mutant %s: %s has %d times\n%s", ErrStale, m.Name, e.File, n, e.Old)
		}
		texts[e.File] = strings.Replace(text, e.Old, e.New, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		if _, err := format.Source([]byte(text)); err != nil {
			return "", fmt.Errorf("mutant %s: %s: %w", m.Name, file, err)
		}
		changed := filepath.Join(dir, m.Name+"-"+strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(changed, []byte(text), 0o644); err != nil {
			return "", err
		}
		replace[filepath.Join(root, file)] = changed
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, m.Name+"-overlay.json")
	return name, os.WriteFile(name, list, 0o644)
}
