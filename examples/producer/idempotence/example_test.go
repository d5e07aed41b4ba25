//go:build !real

package main

func Example() {
	main()
	// Output:
	// offset 0
	// offset 1
	// records: 2
	// invalid pipeline: kafka.ProducerSettings:
	// Producer.Idempotence needs Acks AcksAll, not 1
	// invalid pipeline: kafka.ProducerSettings:
	// Producer.MaxInFlight: 6 is more than the 5 with which a broker can drop doubles
	// invalid pipeline: kafka.ProducerSettings:
	// TransactionalID needs Producer.Acks AcksAll, not 1
	// invalid pipeline: kafka.ProducerSettings:
	// TransactionalID needs Producer.Idempotence
}
