//go:build !real

package main

func Example() {
	main()
	// Output:
	// forget: flush: <nil>
	// sync: offset 1
	// callback: order-3 is at offset 2
	// callback: order-4 is at offset 3
	// future: offset 4
	// future: offset 5
	// many: offset 6 <nil>
	// many: offset -1 leat-example-sending: partition does not exist: the partitioner chose 9 of topic "leat-example-sending", which has 1
	// many: offset 7 <nil>
	// many: 1 records were not written, the first: leat-example-sending: partition does not exist: the partitioner chose 9 of topic "leat-example-sending", which has 1
	// records in the topic: 8
}
