//go:build !real

package main

func Example() {
	main()
	// Output:
	// 1. interceptor, before the encoding: {ID:order-1 Cents:9999}
	// 2. key serializer: order-1 becomes 7 bytes
	// 3. value serializer: {ID:order-1 Cents:9999} becomes 29 bytes
	// 4. partitioner: key "order-1", value {"ID":"order-1","Cents":9999}: 2 of 4
	// 5. accumulator: 1 record in a batch, 0 requests
	// 6. compression, 7. sender: 1 batch in 1 request
	// 8. interceptor, acknowledged: offset 0, <nil>
	// 9. callback: partition 2, offset 0, <nil>
}
