// Package history records what can be seen of a workload from outside, by a client
// that has nothing to do with Leat: what readers of committed records see while it
// runs and afterwards, how the committed positions move, which transactions are open,
// and what workers say of themselves.
package history
