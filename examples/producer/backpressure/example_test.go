//go:build !real

package main

func Example() {
	main()
	// Output:
	// block: 100 written, never more than 10 on their way: true
	// give up: true retriable
	// fail fast: true retriable
	// alert: 0 of 5000 bytes are available
	// after the flush: 5000 of 5000
}
