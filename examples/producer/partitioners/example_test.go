//go:build !real

package main

func Example() {
	main()
	// Output:
	// the key's hash, as Java's: 2 3 3 2
	// explicit: 3 3
	// in turn: 0 1 2 3 0
	// by region: 0 1 2 3 2
	// the same key, hashed: 2
	// our own: 1 2 3
	// our own, failing: -1
	//   1 records were not written, the first: leat-example-partitioners: partition does not exist: the partitioner of topic "leat-example-partitioners" failed: an order without a key is the record's
	// one that does not exist: -1
	//   1 records were not written, the first: leat-example-partitioners: partition does not exist: the partitioner chose 4 of topic "leat-example-partitioners", which has 4 is the record's
	// sticky, in runs of: 4 4 4
}
