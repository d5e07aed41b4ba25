package kafka

import (
	"fmt"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/send"
)

// A record that is too large fails its transaction, and with it the other records,
// whose error names the cause: they are not to blame.
func TestOnlyTheGuiltyRecordIsRejected(t *testing.T) {
	s := &sender{}
	guilty, innocent := &outcome{s: s, topic: "guilty"}, &outcome{s: s, topic: "innocent"}
	guilty.Complete(-1, time.Time{}, send.ErrTooLarge)
	innocent.Complete(-1, time.Time{}, fmt.Errorf("%w: %w", send.ErrAborted, send.ErrTooLarge))
	if len(s.rejected) != 1 || s.rejected[0].Topic != "guilty" {
		t.Errorf("rejected %+v, want the guilty record only", s.rejected)
	}
}
