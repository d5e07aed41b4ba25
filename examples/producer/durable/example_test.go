//go:build !real

package main

func Example() {
	main()
	// Output:
	// acks: all
	// enable.idempotence: true
	// max.in.flight.requests.per.connection: 5
	// retries: until delivery.timeout.ms: 2m0s
	// request.timeout.ms: 30s
	// retry.backoff.ms: 100ms
	// batch.size: 65536
	// linger.ms: 10ms
	// compression.type is lz4: true
	// buffer.memory: 67108864
	// max.block.ms: 1m0s
	// record-send-rate above 0: true
	// record-error-rate: 0
	// batch-size-avg within batch.size: true
	// records-per-request-avg above 1: true
	// request-latency-avg above 0: true p99 below 30 s: true
	// produce-throttle-time-avg: 0s
	// buffer-available-bytes: 67108864 of 67108864
	// records in the topic: 10000
}
