//go:build !real

package main

func Example() {
	main()
	// Output:
	// acks=0: offset known: false
	// acks=1: offset known: true
	// acks=all: offset known: true
	// too large, acks=0: error: <nil>
	// too large, acks=all: error: leat-example-acks[0], attempt 1: record too large: kafka server: Message was too large, server rejected it to avoid allocation error
	// records in the topic: 3
	// invalid configuration: kafka.ProducerSettings:
	// Producer.Idempotence needs Acks AcksAll, not acks=1
}
