package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
)

func ExamplePipeline_Decode() {
	type order struct{ ID string }
	p := pipeline.New("example")
	pipeline.To(pipeline.From(p, "orders", serde.JSON[order]()), "out", serde.JSON[order]())

	letter := pipeline.Raw{Value: []byte(`{"ID":"a1"}`), Origin: pipeline.Origin{Topic: "orders"}}
	value, err := p.Decode(context.Background(), &letter)
	fmt.Printf("%+v %v\n", value, err)
	// Output: {ID:a1} <nil>
}

// moody is a serde of which each value says what it does.
type moody struct{ pipeline.Serde[string] }

func (moody) Decode(ctx context.Context, at pipeline.Slot, data []byte) (string, error) {
	switch string(data) {
	case "panics":
		panic("in a serde")
	case "waits":
		<-ctx.Done()
		return "", ctx.Err()
	}
	h, _ := at.Headers.Get("h")
	return at.Topic + " " + string(data) + " " + string(h), nil
}

func TestDecode(t *testing.T) {
	p := pipeline.New("test")
	pipeline.To(pipeline.From(p, "in", pipeline.Serde[string](moody{serde.String()})), "out", serde.String())
	pipeline.Table(p, "table", serde.String(), pipeline.Serde[string](moody{serde.String()}))
	decode := func(ctx context.Context, topic string, value []byte) (any, error) {
		return p.Decode(ctx, &pipeline.Raw{
			Value: value, Origin: pipeline.Origin{Topic: topic}, Headers: pipeline.Headers{{Key: "h", Value: []byte("x")}},
		})
	}
	for topic, want := range map[string]string{"in": "in v x", "table": "table v x"} {
		if v, err := decode(t.Context(), topic, []byte("v")); v != want || err != nil {
			t.Errorf("%s: %v, %v", topic, v, err)
		}
	}
	if v, err := decode(t.Context(), "in", nil); v != nil || err != nil {
		t.Errorf("null: %v, %v", v, err)
	}
	for _, topic := range []string{"out", "other", ""} {
		if _, err := decode(t.Context(), topic, []byte("v")); err == nil {
			t.Errorf("topic %q is read by nobody", topic)
		}
	}
	if _, err := decode(t.Context(), "in", []byte("panics")); !asPanic(err) {
		t.Errorf("a panic is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := decode(ctx, "in", []byte("waits")); !errors.Is(err, context.Canceled) {
		t.Errorf("at the context's end: %v", err)
	}
}

func asPanic(err error) bool {
	_, ok := errors.AsType[*pipeline.PanicError](err)
	return ok
}

// A pipeline that is not valid decodes nothing.
func TestDecodeWithoutASerde(t *testing.T) {
	p := pipeline.New("test")
	pipeline.From[string](p, "in", nil)
	if _, err := p.Decode(t.Context(), &pipeline.Raw{Value: []byte("v"), Origin: pipeline.Origin{Topic: "in"}}); err == nil {
		t.Error("decoded without a serde")
	}
}
