//go:build !real

package main

func Example() {
	main()
	// Output:
	// us-east:order-1 is in partition 0
	// eu-west:order-2 is in partition 2
	// the file is now {"us-east": 3, "eu-west": 1}: taken
	// us-east:order-1 is in partition 3
	// eu-west:order-2 is in partition 1
	// the file is now {"us-east": -1}: refused
	// us-east:order-1 is in partition 3
	// eu-west:order-2 is in partition 1
}
