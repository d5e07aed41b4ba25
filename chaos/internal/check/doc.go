// Package check judges what was recorded of a workload: pure functions from histories
// to violations of the invariants. No number of violations is tolerable.
package check
