//go:build !real

package main

func Example() {
	main()
	// Output:
	// a zero byte, and the schema's id in four: true 12 bytes of Avro behind them
	// ORD-12345 99.99 USD
}
