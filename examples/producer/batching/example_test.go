//go:build !real

package main

func Example() {
	main()
	// Output:
	// Throughput: batches of 65536 bytes, linger 20ms, buffer 67108864
	//   records per request: 500, batches at least half full: true
	//   one record alone waited for Linger: true
	// LowLatency: batches of 16384 bytes, no linger: true, acks=1
	//   records per request: 1, batches at least half full: false
}
