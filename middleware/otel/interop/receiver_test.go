package interop

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// patience bounds every wait; only a failing test waits that long.
const patience = time.Minute

// receiver takes spans over OTLP.
type receiver struct {
	t         testing.TB
	server    *httptest.Server
	providers []*sdk.TracerProvider

	mu    sync.Mutex
	spans spans
}

// span is one as it has arrived.
type span struct {
	*tracepb.Span
	service, scope, schema string
}

type spans []span

func newReceiver(t testing.TB) *receiver {
	t.Helper()
	r := &receiver{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", r.export)
	r.server = httptest.NewServer(mux)
	t.Cleanup(r.server.Close)
	return r
}

func (r *receiver) export(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var all collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &all)
	}
	if err != nil {
		r.t.Error(err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range all.ResourceSpans {
		service := ""
		for _, kv := range of.Resource.Attributes {
			if kv.Key == "service.name" {
				service = kv.Value.GetStringValue()
			}
		}
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				r.spans = append(r.spans, span{s, service, scope.Scope.Name, scope.SchemaUrl})
			}
		}
	}
}

// service is a provider that exports what a service of this name has to say.
func (r *receiver) service(name string) *sdk.TracerProvider {
	r.t.Helper()
	exporter, err := otlptracehttp.New(r.t.Context(), otlptracehttp.WithEndpointURL(r.server.URL+"/v1/traces"))
	if err != nil {
		r.t.Fatal(err)
	}
	p := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(resource.NewSchemaless(semconv.ServiceName(name))))
	r.providers = append(r.providers, p)
	return p
}

// received ends the services' exports and returns all spans.
func (r *receiver) received() spans {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for _, p := range r.providers {
		if err := p.Shutdown(ctx); err != nil {
			r.t.Fatal(err)
		}
	}
	r.providers = nil
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortFunc(r.spans, func(a, b span) int { return int(int64(a.StartTimeUnixNano) - int64(b.StartTimeUnixNano)) })
	return r.spans
}

// named returns the spans of a name.
func (all spans) named(name string) (out spans) {
	for _, s := range all {
		if s.Name == name {
			out = append(out, s)
		}
	}
	return out
}

// by returns the span of an id.
func (all spans) by(id []byte) (span, bool) {
	i := slices.IndexFunc(all, func(s span) bool { return string(s.SpanId) == string(id) })
	if i < 0 {
		return span{}, false
	}
	return all[i], true
}

func (all spans) children(id []byte) (out spans) {
	for _, s := range all {
		if string(s.ParentSpanId) == string(id) {
			out = append(out, s)
		}
	}
	return out
}

// tree draws spans: service, kind and name, what they are linked to, and their children
// below them.
func (all spans) tree() string {
	var b strings.Builder
	var draw func(s span, indent string)
	draw = func(s span, indent string) {
		fmt.Fprintf(&b, "%s%s: %s %s", indent, s.service, kind(s), s.Name)
		for _, l := range s.Links {
			to, ok := all.by(l.SpanId)
			if !ok || string(to.TraceId) != string(l.TraceId) {
				fmt.Fprintf(&b, " -> ?")
				continue
			}
			fmt.Fprintf(&b, " -> %s", to.Name)
		}
		b.WriteByte('\n')
		for _, c := range all.children(s.SpanId) {
			draw(c, indent+"  ")
		}
	}
	for _, s := range all {
		if _, ok := all.by(s.ParentSpanId); !ok {
			draw(s, "")
		}
	}
	return b.String()
}

func kind(s span) string {
	return strings.ToLower(strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_"))
}

// attributes are those of a span; integers are int64.
func attributes(s span) map[string]any {
	all := map[string]any{}
	for _, kv := range s.Attributes {
		switch v := kv.Value; {
		case v.GetValue() == nil:
			all[kv.Key] = nil
		default:
			all[kv.Key] = plain(v)
		}
	}
	return all
}

// traceOf is a span's trace in text.
func traceOf(s span) string { return hex.EncodeToString(s.TraceId) }

func traceparent(s span) string {
	return "00-" + hex.EncodeToString(s.TraceId) + "-" + hex.EncodeToString(s.SpanId) + "-01"
}
