package middleware

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-stream/leat/pipeline"
)

// Headers says which headers of an input record its outputs receive. The zero value
// passes all of them on. Names are compared as they stand; one that ends in * stands
// for all that begin so.
//
// The steps are Allow, Deny, Rename, Add, MaxBytes, in this order. The headers that
// name a schema (__value_schema_id, __key_schema_id) are passed on always and not
// counted: the serdes need them.
type Headers struct {
	// Allow are the names that are passed on. Default: all.
	Allow []string
	// Deny are the names that are not, of those that Allow lets through.
	Deny []string
	// Rename gives headers another name, old to new, without *. Of several with the
	// old name the last is taken, and it replaces all with the new name.
	Rename map[string]string
	// Add are headers that every record receives. Each replaces all of its name.
	Add []pipeline.Header
	// MaxBytes bounds the names and values of a record's headers, together, in bytes.
	// Those of Add come first, then the others as they stand; one that does not fit is
	// left out. Default 0: no bound.
	MaxBytes int
}

// schemaHeaders are those of package serde.
var schemaHeaders = []string{"__value_schema_id", "__key_schema_id"}

// Validate reports every mistake at once.
func (h Headers) Validate() error {
	var bad []error
	report := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	for field, names := range map[string][]string{"Allow": h.Allow, "Deny": h.Deny} {
		for _, n := range names {
			switch {
			case n == "":
				report("%s has an empty name", field)
			case strings.Contains(strings.TrimSuffix(n, "*"), "*"):
				report("%s: %q has a * that is not at its end", field, n)
			}
		}
	}
	targets := map[string]string{}
	for from, to := range h.Rename {
		switch {
		case from == "" || to == "":
			report("Rename of %q to %q: a name is empty", from, to)
		case strings.Contains(from, "*") || strings.Contains(to, "*"):
			report("Rename of %q to %q: only whole names can be renamed", from, to)
		case slices.Contains(schemaHeaders, from) || slices.Contains(schemaHeaders, to):
			report("Rename of %q to %q: a header that names a schema is the serde's", from, to)
		}
		if other, ok := targets[to]; ok {
			report("Rename: %q and %q are both renamed to %q", min(from, other), max(from, other), to)
		}
		targets[to] = from
	}
	size := 0
	for _, a := range h.Add {
		if a.Key == "" {
			report("Add has a header without a name")
		}
		if slices.Contains(schemaHeaders, a.Key) {
			report("Add of %q: a header that names a schema is the serde's", a.Key)
		}
		size += len(a.Key) + len(a.Value)
	}
	switch {
	case h.MaxBytes < 0:
		report("MaxBytes must not be negative")
	case h.MaxBytes > 0 && size > h.MaxBytes:
		report("Add takes %d bytes, more than MaxBytes (%d)", size, h.MaxBytes)
	}
	if len(bad) == 0 {
		return nil
	}
	slices.SortFunc(bad, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) }) // maps have no order
	return fmt.Errorf("%w: middleware.Headers:\n%w", pipeline.ErrInvalid, errors.Join(bad...))
}

// PropagateHeaders decides which headers of an input record the stages see and the
// outputs receive. A dead letter has all headers of its record. A record that needs no
// change costs a look at its headers' names; one that does, the allocation of a copy.
func PropagateHeaders(h Headers) pipeline.Option {
	if err := h.Validate(); err != nil {
		return pipeline.Invalid(err)
	}
	return pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		changed := new(pipeline.Raw)
		return func(ctx context.Context, r *pipeline.Raw) error {
			if h.fits(r.Headers) {
				return next(ctx, r)
			}
			*changed = *r
			changed.Headers = h.of(r.Headers)
			return next(ctx, changed)
		}
	})
}

// fits says whether headers may go on as they are.
func (h *Headers) fits(in pipeline.Headers) bool {
	if len(h.Add) > 0 {
		return false
	}
	size := 0
	for i := range in {
		if slices.Contains(schemaHeaders, in[i].Key) {
			continue
		}
		if _, renamed := h.Rename[in[i].Key]; renamed || !h.passes(in[i].Key) {
			return false
		}
		size += len(in[i].Key) + len(in[i].Value)
	}
	return h.MaxBytes == 0 || size <= h.MaxBytes
}

func (h *Headers) passes(name string) bool {
	return (h.Allow == nil || matches(h.Allow, name)) && !matches(h.Deny, name)
}

func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		if prefix, ok := strings.CutSuffix(p, "*"); ok && strings.HasPrefix(name, prefix) || p == name {
			return true
		}
	}
	return false
}

// of returns the headers that go on.
func (h *Headers) of(in pipeline.Headers) pipeline.Headers {
	taken := map[string]bool{} // names that something later in the record, or Add, replaces
	size := 0
	for _, a := range h.Add {
		taken[a.Key] = true
		size += len(a.Key) + len(a.Value)
	}
	added := h.lastOfEach()
	renamed := map[string]bool{}
	for i := range in {
		if to, ok := h.Rename[in[i].Key]; ok && h.passes(in[i].Key) {
			renamed[to] = true
		}
	}

	var kept pipeline.Headers // backwards, so that the last of a name is met first
	for i := len(in) - 1; i >= 0; i-- {
		x := in[i]
		if slices.Contains(schemaHeaders, x.Key) {
			kept = append(kept, x)
			continue
		}
		if !h.passes(x.Key) {
			continue
		}
		if to, ok := h.Rename[x.Key]; ok {
			if taken[to] {
				continue
			}
			taken[to] = true
			x.Key = to
		} else if taken[x.Key] || renamed[x.Key] {
			continue
		}
		kept = append(kept, x)
	}
	slices.Reverse(kept)
	if h.MaxBytes > 0 {
		kept = slices.DeleteFunc(kept, func(x pipeline.Header) bool {
			if slices.Contains(schemaHeaders, x.Key) {
				return false
			}
			n := len(x.Key) + len(x.Value)
			if size+n > h.MaxBytes {
				return true
			}
			size += n
			return false
		})
	}
	return append(kept, added...)
}

// lastOfEach returns Add without those that a later one replaces.
func (h *Headers) lastOfEach() pipeline.Headers {
	var out pipeline.Headers
	for i, a := range h.Add {
		if !slices.ContainsFunc(h.Add[i+1:], func(b pipeline.Header) bool { return b.Key == a.Key }) {
			out = append(out, a)
		}
	}
	return out
}
