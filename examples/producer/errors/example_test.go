//go:build !real

package main

func Example() {
	main()
	// Output:
	// good: written
	// too large for the topic: told to the callback, attempts 1, Kafka's code 10, the record's: put it aside
	// too large for the producer: not taken, attempts 0, Kafka's code 0, the record's: put it aside
	// no such partition: not taken, attempts 0, Kafka's code 0, the record's: put it aside
	// no such topic: not taken, attempts 0, Kafka's code 0, fatal: stop and fix the cause
	// not encodable: not taken, attempts 0, Kafka's code 0, the record's: put it aside
	// no room: not taken, attempts 0, Kafka's code 0, retriable: send it later, or alert
	// closed: not taken, attempts 0, Kafka's code 0, recoverable: go on with a new producer, or transaction
	// flush: <nil>
	// dead letter: order-2, the record's
}
