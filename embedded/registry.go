package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

// maxChangeBytes is srfake's own bound on the body of a registration.
const maxChangeBytes = 1 << 20

// registry serves srfake on a port of 127.0.0.1 and writes down what changes it.
type registry struct {
	fake   *srfake.Registry
	url    string
	server *http.Server
	served chan error // receives what Serve returned, once

	// serving is held for reading by each request in progress, so that close can wait for them.
	serving sync.RWMutex
	closed  bool

	// changing orders changes, so that the journal has them in the order in which they took
	// effect: the ids that srfake assigns depend on it.
	changing sync.Mutex
	journal  *journal // nil without a file
}

// startRegistry listens on port (zero: a free one) and first restores what file keeps, unless file
// is empty.
func startRegistry(port int, file string) (*registry, error) {
	r := &registry{
		fake:   srfake.NewRegistry(srfake.WithGlobalCompat(sr.CompatBackward)),
		served: make(chan error, 1),
	}
	if file != "" {
		var err error
		if r.journal, err = openJournal(file); err != nil {
			return nil, err
		}
		if err := r.journal.replay(r.fake.Handler()); err != nil {
			return nil, err
		}
	}

	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("embedded: start registry: %w", err)
	}
	r.url = "http://" + listener.Addr().String()
	r.server = &http.Server{
		Handler:           r,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // broken connections are the client's to report
	}
	go func() { r.served <- r.server.Serve(listener) }()
	return r, nil
}

// ServeHTTP implements [http.Handler].
func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.serving.RLock()
	defer r.serving.RUnlock()
	if r.closed {
		panic(http.ErrAbortHandler) // its connection is closed, there is nobody to answer
	}
	if r.journal == nil || !changesRegistry(req) {
		r.fake.Handler().ServeHTTP(w, req)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxChangeBytes))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// srfake takes contexts off the path in place, so the change is put down before it sees it.
	change := change{Method: req.Method, Path: req.URL.RequestURI(), Body: body}
	if req.Method == http.MethodDelete {
		change.Body = nil // means nothing, and need not be JSON
	}

	r.changing.Lock()
	defer r.changing.Unlock()
	answer := apply(r.fake.Handler(), req, body)
	if answer.status == http.StatusOK {
		change.ID = answer.schemaID()
		// Kept before it is answered: nobody may write records with an id that can be forgotten.
		if err := r.journal.add(change); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	answer.writeTo(w)
}

// changesRegistry tells registrations, deletions and settings from look-ups, some of which are POST.
func changesRegistry(req *http.Request) bool {
	switch req.Method {
	case http.MethodPut, http.MethodDelete:
		return true
	case http.MethodPost:
		path := req.URL.EscapedPath()
		return strings.HasSuffix(path, "/versions") && !strings.Contains(path, "/compatibility/")
	}
	return false
}

func apply(handler http.Handler, req *http.Request, body []byte) *answer {
	req.Body = io.NopCloser(bytes.NewReader(body))
	a := &answer{header: make(http.Header)}
	handler.ServeHTTP(a, req)
	return a
}

// close cuts all connections and waits for the requests in progress. It does not use Shutdown,
// which waits 5 s for a connection that a client opened ahead and never used.
func (r *registry) close() error {
	err := r.server.Close()
	if served := <-r.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	r.serving.Lock()
	r.closed = true
	r.serving.Unlock()
	if err != nil {
		return fmt.Errorf("embedded: close registry: %w", err)
	}
	return nil
}
