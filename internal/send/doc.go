// Package send is the machine under Leat's producer: records are appended to
// batches per partition, batches are sealed by size or age, grouped by leader and
// sent with up to five requests in flight, numbered so that the broker can drop
// doubles, and retried in order; transactions tie them together.
//
// # Shape
//
// Appending (accumulator.go) happens on the callers' goroutines, under one lock a
// partition. Everything after that is state of the machine (machine.go and the
// files beside it), which has no goroutine, lock, clock or connection of its own:
// it takes events with the time at which they happened, and asks its world
// (world.go) to send requests whose outcomes are events again. The loop (loop.go)
// is the one goroutine that feeds it; in the simulation (sim_test.go) a seeded
// schedule does.
//
// The rules that keep records from being lost, doubled or reordered are marked in
// the code as rule 1 to 6; docs/architecture.md lists them with their tests.
package send
