package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/instruments"
)

// ServeHTTP implements http.Handler: the page and what it needs, see the package. To
// mount it under a prefix, strip that:
//
//	mux.Handle("/leat/", http.StripPrefix("/leat", live))
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	if !c.mayAsk(r) {
		http.Error(w, "the console answers to localhost here; see Config.Hosts", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "the console is read only", http.StatusMethodNotAllowed)
		return
	}
	switch strings.TrimPrefix(r.URL.Path, "/") {
	case "":
		c.page.serve(w)
	case "icon.svg":
		write(w, "image/svg+xml", http.StatusOK, icon)
	case "state.json":
		c.serveState(w, r)
	case "metrics":
		c.serveMetrics(w)
	case "healthz":
		serveReasons(w, c.failed())
	case "readyz":
		serveReasons(w, c.notReady())
	default:
		http.Error(w, "not found", http.StatusNotFound)
	}
}

// mayAsk reports whether a request was sent to a name of this machine, if it has come
// over loopback: there, who may open the connection is the only check, and a browser
// opens it for any page whose name resolves to this machine.
func (c *Console) mayAsk(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || !isLoopback(local) {
		return true
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	same := func(name string) bool { return strings.EqualFold(name, host) }
	return same("localhost") || slices.ContainsFunc(c.cfg.Hosts, same)
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// serveReasons answers 200 and "ok", or 503 and the reasons, one a line.
func serveReasons(w http.ResponseWriter, reasons []string) {
	if len(reasons) == 0 {
		write(w, "text/plain; charset=utf-8", http.StatusOK, []byte("ok\n"))
		return
	}
	for i, s := range reasons {
		reasons[i] = strings.Join(strings.Fields(s), " ")
	}
	write(w, "text/plain; charset=utf-8", http.StatusServiceUnavailable, []byte(strings.Join(reasons, "\n")+"\n"))
}

func (c *Console) serveState(w http.ResponseWriter, r *http.Request) {
	body, err := c.state.get(r.Context(), c.snapshot)
	if err != nil {
		http.Error(w, "the state cannot be encoded", http.StatusInternalServerError)
		return
	}
	write(w, "application/json", http.StatusOK, body)
}

func (c *Console) serveMetrics(w http.ResponseWriter) {
	var b bytes.Buffer
	if err := c.metrics.WriteText(&b); err != nil { // a buffer takes everything
		http.Error(w, "the metrics cannot be written", http.StatusInternalServerError)
		return
	}
	write(w, instruments.ContentType, http.StatusOK, b.Bytes())
}

// write leaves the body of an answer to HEAD to net/http.
func write(w http.ResponseWriter, kind string, code int, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body) // nobody is left to tell
}

// stateMaxAge is how old a document may be that a second browser is given.
const stateMaxAge = 100 * time.Millisecond

// cache is the last document: many browsers cost hardly more than one.
type cache struct {
	mu   sync.Mutex
	at   time.Time
	body []byte
}

func (d *cache) get(ctx context.Context, of func(context.Context) *State) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.body != nil && time.Since(d.at) < stateMaxAge {
		return d.body, nil
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(of(ctx)); err != nil {
		return nil, err
	}
	d.body, d.at = b.Bytes(), time.Now()
	return d.body, nil
}
