package kafka_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/pipeline"
)

// aLargeOneAmongSmall writes records that fit, with culprits between them.
func aLargeOneAmongSmall(c *cluster, culprits ...string) (fits []string) {
	var all []*kgo.Record
	for i := range 60 {
		k := fmt.Sprintf("s%02d", i)
		all = append(all, text("in", k, "small"))
		fits = append(fits, k)
		if i%20 == 10 && len(culprits) > 0 {
			all = append(all, large(culprits[0], 2*brokerLimit))
			culprits = culprits[1:]
		}
	}
	c.Produce(all...)
	return fits
}

func TestTooLargeForTheBroker(t *testing.T) {
	t.Parallel()
	for _, g := range bothGuarantees {
		t.Run(g.String(), func(t *testing.T) {
			for _, tt := range []struct {
				name     string
				culprits []string
			}{{"alone", nil}, {"among many", []string{"big"}}, {"several among many", []string{"big", "bigger", "biggest"}}} {
				t.Run(tt.name, func(t *testing.T) {
					t.Parallel()
					c := limited(t, 1<<20)
					fits, dead := []string{}, tt.culprits
					if dead == nil {
						dead = []string{"big"}
						c.Produce(large("big", 2*brokerLimit))
					} else {
						fits = aLargeOneAmongSmall(c, dead...)
					}
					cfg := c.config()
					cfg.Delivery = g
					noError(t, run(t, deadLettering("copy"), cfg), "run")

					letters := c.ReadAll("dlq")
					got := keys(c.ReadAll("out"))
					if g == pipeline.AtLeastOnce { // what was sent with it may come again
						got, letters = unique(got), firsts(letters)
					}
					same(t, "out", got, fits)
					same(t, "dead letters", keys(letters), dead)
					for _, r := range letters {
						reason := ""
						for _, h := range r.Headers {
							if h.Key == pipeline.HeaderError {
								reason = string(h.Value)
							}
						}
						if !strings.Contains(reason, pipeline.ErrTooLarge.Error()) {
							t.Errorf("the dead letter's reason is %q", reason)
						}
					}
				})
			}
		})
	}
}

func firsts(records []*kgo.Record) (out []*kgo.Record) {
	seen := map[string]bool{}
	for _, r := range records {
		if !seen[string(r.Key)] {
			out = append(out, r)
		}
		seen[string(r.Key)] = true
	}
	return out
}

// Many small records in a batch that is too large as a whole are no one's fault:
// the limit is one of batches.
func TestABatchTooLargeForTheBrokerIsSplit(t *testing.T) {
	t.Parallel()
	for _, g := range bothGuarantees {
		t.Run(g.String(), func(t *testing.T) {
			t.Parallel()
			c := limited(t, 1<<20)
			var all []*kgo.Record
			for i := range 50 {
				all = append(all, large(fmt.Sprintf("k%02d", i), brokerLimit/4))
			}
			c.Produce(all...)
			cfg := c.config()
			cfg.Delivery = g
			noError(t, run(t, deadLettering("copy"), cfg), "run")
			got := keys(c.ReadAll("out"))
			if g == pipeline.AtLeastOnce {
				got = unique(got)
			}
			same(t, "out", got, keys(all))
			same(t, "dead letters", keys(c.ReadAll("dlq")), []string{})
		})
	}
}

func TestADeadLetterTooLargeForTheBrokerFails(t *testing.T) {
	t.Parallel()
	for _, among := range []bool{false, true} {
		for _, g := range bothGuarantees {
			t.Run(fmt.Sprintf("among others %v/%v", among, g), func(t *testing.T) {
				t.Parallel()
				c := limited(t, brokerLimit)
				at := "in[0]@0"
				if among {
					aLargeOneAmongSmall(c, "big")
					at = "in[0]@11"
				} else {
					c.Produce(large("big", 2*brokerLimit))
				}
				cfg := c.config()
				cfg.Delivery = g
				wantError(t, run(t, deadLettering("copy"), cfg), pipeline.ErrDeadLetterTooLarge, at, `topic "dlq"`)
			})
		}
	}
}

// Without a policy the broker's refusal fails the pipeline and names the record.
func TestTooLargeForTheBrokerFailsByDefault(t *testing.T) {
	t.Parallel()
	for _, g := range bothGuarantees {
		t.Run(g.String(), func(t *testing.T) {
			t.Parallel()
			c := limited(t, 1<<20)
			aLargeOneAmongSmall(c, "big")
			cfg := c.config()
			cfg.Delivery = g
			wantError(t, run(t, copyTo("copy", "in", "out"), cfg), pipeline.ErrTooLarge, "in[0]@11", "out")
		})
	}
}
