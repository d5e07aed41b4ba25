//go:build !real

package main

func Example() {
	main()
	// Output:
	// none     100 %
	// snappy    27 %
	// lz4       24 %
	// gzip-1    16 %
	// gzip-9    13 %
	// zstd-1    13 %
	// zstd-19   12 %
	// zstd < gzip < lz4 < none: true
	// a higher level is smaller: true
	// invalid configuration: kafka.ProducerSettings:
	// Producer.CompressionLevel is for Gzip and Zstd: Snappy and NoCompression have no levels, and LZ4 is written with its fast one only
}
