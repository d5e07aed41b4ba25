//go:build !real

package main

func Example() {
	main()
	// Output:
	// leat-example-headers: too many or too large headers: 2066 bytes of headers, more than MaxHeaderBytes (1024) is the record's
	// source: order-service
	// content-type: application/json
	// schema-version: 3
	// trace-id: c4f5a58656eef5109dcec3ad077dec6c
	// same headers: 69 bytes a record, compressed 0
	// traced headers: 111 bytes a record, compressed 22
}
