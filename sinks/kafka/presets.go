package kafka

import "time"

// Throughput is for as many records as possible: batches of 64 KiB that wait 20 ms,
// LZ4, and a buffer of 64 MiB. It is a value to begin with; change what you like.
func Throughput() ProducerConfig {
	return ProducerConfig{BatchSize: 64 << 10, Linger: 20 * time.Millisecond, Compression: LZ4, BufferMemory: 64 << 20}
}

// LowLatency is for records that must be there soon and may be lost when a leader
// fails: batches of 16 KiB that do not wait, and the leader's acknowledgement alone,
// so without idempotence and with one request in flight. No pipeline takes it.
func LowLatency() ProducerConfig {
	return ProducerConfig{BatchSize: 16 << 10, Linger: NoLinger, Acks: AcksLeader}
}

// Durable is for production: every replica in sync acknowledges, retries for two
// minutes double nothing and keep the order, and batches of 64 KiB wait 10 ms. Give
// the topic three replicas and min.insync.replicas=2.
func Durable() ProducerConfig {
	return ProducerConfig{
		Acks: AcksAll, Idempotence: IdempotenceOn, MaxInFlight: 5,
		DeliveryTimeout: 120 * time.Second, RequestTimeout: 30 * time.Second, RetryBackoff: 100 * time.Millisecond,
		BatchSize: 64 << 10, Linger: 10 * time.Millisecond, Compression: LZ4,
		BufferMemory: 64 << 20, MaxBlock: time.Minute,
	}
}
