package pipeline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// downSerde cannot encode for a while, like one whose registry is down.
type downSerde struct{ failures int }

func (s *downSerde) Append(_ context.Context, dst []byte, _ Slot, v string) ([]byte, error) {
	if v == "waits" && s.failures > 0 {
		s.failures--
		return nil, Retriable(errors.New("registry down"))
	}
	return append(dst, v...), nil
}

func (*downSerde) Decode(_ context.Context, _ Slot, data []byte) (string, error) {
	return string(data), nil
}

// What stands before a record that waits is handed over meanwhile; the outputs of
// the waiting record must survive that, the one before the wait included.
func TestOutputsSurviveAHandOverDuringAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New("p")
		serde := &downSerde{failures: 2}
		in := From(p, "in", serde)
		To(in, "first", &downSerde{})
		To(in, "second", serde)

		var handed []string
		var task *Task
		task, err := p.Compile(Partition{Topic: "in"}, TaskConfig{onWait: func(context.Context, string, error) {
			for _, o := range task.Outputs() {
				handed = append(handed, o.Topic+" "+string(o.Value))
			}
			task.Clear()
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []string{"before", "waits", "after"} {
			if err := task.Process(t.Context(), &Raw{Value: []byte(v)}); err != nil {
				t.Fatal(err)
			}
		}
		for _, o := range task.Outputs() {
			handed = append(handed, o.Topic+" "+string(o.Value))
		}
		want := []string{"first before", "second before", "first waits", "second waits", "first after", "second after"}
		if len(handed) != len(want) {
			t.Fatalf("got %q, want %q", handed, want)
		}
		for i := range want {
			if handed[i] != want[i] {
				t.Fatalf("got %q, want %q", handed, want)
			}
		}
	})
}
