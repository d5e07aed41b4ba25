package interop

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/middleware/otel"
)

// One trace from a browser through HTTP, a producer and two pipelines, as a backend sees it.
func TestThreeHops(t *testing.T) {
	t.Parallel()
	threeHops(embeddedWorld(t))
}

func threeHops(w *world) {
	w.t.Helper()
	w.order(w.shop(), "tea")
	w.run("pricing", "orders", "priced", otel.Child)
	w.run("shipping", "priced", "shipped", otel.Child)
	all := w.received()
	want := `
shop: server POST /orders
  shop: producer send orders
    pricing: consumer process orders
      pricing: internal lookup prices
      pricing: producer send priced
        shipping: consumer process priced
          shipping: internal lookup prices
          shipping: producer send shipped
pricing: internal transaction -> send priced
  pricing: client commit orders
shipping: internal transaction -> send shipped
  shipping: client commit priced
`
	expectTree(w.t, all, want)
	for _, s := range all {
		if _, of, _ := strings.Cut(s.Name, " "); (traceOf(s) == traceID) == (s.Name == "transaction" || s.Name == "commit "+of) {
			w.t.Errorf("%s is in the trace %s", s.Name, traceOf(s))
		}
	}
	if got := all.named("POST /orders")[0].ParentSpanId; string(got) != "\x00\xf0\x67\xaa\x0b\xa9\x02\xb7" {
		w.t.Errorf("the request's parent is %x", got)
	}
	out := w.client.ReadAll(w.id + "shipped")
	if len(out) != 1 || header(out[0], "traceparent") != traceparent(all.named("send shipped")[0]) || header(out[0], "baggage") != "campaign=spring" {
		w.t.Errorf("written: %v", out)
	}
}

// Linked, each hop is a trace of its own, with a link to where its message came from.
func TestThreeHopsLinked(t *testing.T) {
	t.Parallel()
	w := embeddedWorld(t)
	w.order(w.shop(), "tea")
	w.run("pricing", "orders", "priced", otel.Linked)
	w.run("shipping", "priced", "shipped", otel.Linked)
	all := w.received()
	expectTree(t, all, `
shop: server POST /orders
  shop: producer send orders
pricing: consumer process orders -> send orders
  pricing: internal lookup prices
  pricing: producer send priced
pricing: internal transaction -> send priced
  pricing: client commit orders
shipping: consumer process priced -> send priced
  shipping: internal lookup prices
  shipping: producer send shipped
shipping: internal transaction -> send shipped
  shipping: client commit priced
`)
	traces := map[string]bool{}
	for _, s := range all {
		traces[traceOf(s)] = true
	}
	if len(traces) != 5 {
		t.Errorf("%d traces, want 5", len(traces))
	}
}

// expectTree compares trees.
func expectTree(t testing.TB, all spans, want string) {
	t.Helper()
	if got := all.tree(); got != strings.TrimPrefix(want, "\n") {
		t.Errorf("the spans are\n%s\nwant%s", got, want)
	}
}

// header returns the only header of a name.
func header(r *kgo.Record, name string) (value string) {
	n := 0
	for _, h := range r.Headers {
		if h.Key == name {
			n, value = n+1, string(h.Value)
		}
	}
	if n != 1 {
		return "?"
	}
	return value
}
