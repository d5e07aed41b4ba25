//go:build !real

package main

func Example() {
	main()
	// Output:
	// order-1 is committed
	// order-2 is aborted: its customer is unknown
	// order-3 is committed
	// order-4 is aborted: true for an error that is the record's
	// read_committed: leat-example-transactions-invoices order-1
	// read_committed: leat-example-transactions-invoices order-3
	// read_committed: leat-example-transactions-ledger order-1
	// read_committed: leat-example-transactions-ledger order-3
	// read_uncommitted: leat-example-transactions-invoices order-1
	// read_uncommitted: leat-example-transactions-invoices order-2
	// read_uncommitted: leat-example-transactions-invoices order-3
}
