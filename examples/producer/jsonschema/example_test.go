//go:build !real

package main

func Example() {
	main()
	// Output:
	// order-2 is not taken, the record's:
	//   [cents] violates registry:///schema#/properties/cents/minimum
	// order-1: 9999 USD
	// order-3: 500 EUR
}
