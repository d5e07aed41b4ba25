package kafka

import "testing"

// Producers that send one record each spread them, too.
func TestStickyBeginsAnywhere(t *testing.T) {
	const partitions, producers = 4, 400
	var count [partitions]int
	for range producers {
		s := newSticky(1 << 10)
		p := s.next(nil, make([]byte, 100), nil, partitions)
		for range 8 { // whatever it is, the batch is filled
			if q := s.next(nil, make([]byte, 100), nil, partitions); q != p {
				t.Fatalf("the second partition is %d, the first %d", q, p)
			}
		}
		count[p]++
	}
	for p, n := range count {
		if n < producers/partitions/2 {
			t.Errorf("partition %d is where %d of %d producers begin", p, n, producers)
		}
	}
}
