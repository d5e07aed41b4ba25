package kafkasource

import (
	"testing"

	"github.com/leat-stream/leat/pipeline"
)

// What has been fetched is held until the one who took it asks for more; then nothing but
// offsets without records lies between the last record and Read.
func TestReach(t *testing.T) {
	f, c, _ := fetching(t, Config{}, 1)
	if _, ok := f.reach(partition); ok {
		t.Error("a partition that is not read has a reach")
	}
	d := f.open(partition, 0)
	records, want := values(0, 10)
	c.ProduceTransaction(true, records...)
	reach := func() pipeline.Reach {
		r, ok := f.reach(partition)
		if !ok {
			t.Fatal("no reach")
		}
		return r
	}
	c.Await("the records", func() bool { return reach().Read == 11 })
	if r := reach(); !r.Held || r.End != 11 || r.Heard.IsZero() {
		t.Errorf("fetched: %+v", r)
	}
	expect(t, d, want)
	if r := reach(); !r.Held {
		t.Errorf("taken: %+v", r)
	}
	if _, ok, err := d.poll(); ok || err != nil {
		t.Errorf("more records: %v, %v", ok, err)
	}
	if r := reach(); r.Held || r.Read != 11 || r.End != 11 {
		t.Errorf("delivered: %+v", r)
	}
	records, _ = values(10, 5)
	c.ProduceTransaction(false, records...)
	c.Await("the end", func() bool { r := reach(); return r.Read == 17 && r.End == 17 })
	if r := reach(); r.Held {
		t.Errorf("aborted records are held: %+v", r)
	}
	again := f.open(partition, 3) // before the one before is closed
	d.close()
	if r := reach(); r.Read < 3 {
		t.Errorf("of the second feed: %+v", r)
	}
	again.close()
	if _, ok := f.reach(partition); ok {
		t.Error("a partition that is read no more has a reach")
	}
	if _, ok := New(Config{}).Reach(partition); ok {
		t.Error("a source that does not run has a reach")
	}
}
