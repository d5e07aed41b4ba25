//go:build !real

package main

func Example() {
	main()
	// Output:
	// to be sent: "order-1"
	// acknowledged: true
	// to be sent: ""
	// acknowledged: false
	// header audited, 3 bytes
	// header send-timestamp, 13 bytes
	// header producer-host, 6 bytes
	// failures of interceptors: 2
	// errors: 1
	// latencies: 1 the median is known: true
	// closed
}
