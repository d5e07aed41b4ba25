package main

func Example() {
	main()
	// Output:
	// the trace:
	//   POST /orders                 server    shop
	//     send orders                producer  shop
	//       process orders           consumer  shop
	//         lookup prices          internal  shop
	//         send priced            producer  shop
	//           process priced       consumer  shipping
	//             send shipped       producer  shipping
	// linked to its send priced:
	//   transaction                  internal  shop
	//     commit orders              client    shop
	// linked to its send shipped:
	//   transaction                  internal  shipping
	//     commit priced              client    shipping
}
