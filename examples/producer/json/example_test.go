//go:build !real

package main

func Example() {
	main()
	// Output:
	// order-2 is not sent:
	// -1 cents
	// currency "dollars"
	// order-1: {"id":"order-1","cents":9999,"currency":"USD"}
	// order-3: {"id":"order-3","cents":500,"currency":"EUR"}
}
