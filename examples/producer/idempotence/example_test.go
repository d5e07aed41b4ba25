//go:build !real

package main

func Example() {
	main()
	// Output:
	// offset 0
	// offset 1
	// records: 2
	// invalid configuration: kafka.ProducerSettings:
	// Producer.Idempotence needs Acks AcksAll, not acks=1
	// invalid configuration: kafka.ProducerSettings:
	// Producer.MaxInFlight: 6 is more than the 5 with which a broker can drop doubles
	// invalid configuration: kafka.ProducerSettings:
	// TransactionalID needs Producer.Acks AcksAll, not acks=1
	// invalid configuration: kafka.ProducerSettings:
	// TransactionalID needs Producer.Idempotence
}
