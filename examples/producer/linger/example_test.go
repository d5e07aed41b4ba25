//go:build !real

package main

func Example() {
	main()
	// Output:
	// at the start: 0s
	// with bursts it waits: true
	// one by one: 0s
}
