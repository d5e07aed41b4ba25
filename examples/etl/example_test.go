package main

func Example() {
	main()
	// Output:
	// 8 orders from CSV to the topic "orders"
	//
	// in SQLite after the first run:
	//   DE: 5 orders, 1712.25
	//   FR: 1 orders, 80.00
	//   position: 8 offsets read
	//   rejected: order 1005, the table has no entry for the record's key: not found
	//   rejected: order 1006, the amount is no number
	//
	// in SQLite after the second run:
	//   DE: 5 orders, 1712.25
	//   FR: 1 orders, 80.00
	//   position: 8 offsets read
	//   rejected: order 1005, the table has no entry for the record's key: not found
	//   rejected: order 1006, the amount is no number
}
