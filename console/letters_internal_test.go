package console

import (
	"testing"

	"github.com/leat-stream/leat/pipeline"
)

// What is kept of a dead letter is a copy, and without payloads there is none.
func TestWhatIsKeptOfALetter(t *testing.T) {
	value := []byte("value of a fetched block")
	d := &pipeline.DeadLettered{Record: pipeline.Raw{Key: value[:5], Value: value, Headers: pipeline.Headers{{Key: "h", Value: value[6:8]}}}}
	kept := newLetter(d, true)
	for i := range value {
		value[i] = 'x'
	}
	if r := kept.record; string(r.Key) != "value" || string(r.Value) != "value of a fetched block" || string(r.Headers[0].Value) != "of" {
		t.Errorf("key %q, value %q, headers %v", r.Key, r.Value, r.Headers)
	}
	if r := newLetter(d, false).record; r.Key != nil || r.Value != nil || r.Headers != nil {
		t.Errorf("without payloads it keeps %v", r)
	}
}
