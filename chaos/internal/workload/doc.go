// Package workload is what the fault suite has its workers do: the input, its
// writer, and a model of the outputs. The model is one of two implementations of
// the small specification below; the other is the worker's pipeline, written with
// Leat. Neither knows the other, and this package does not know Leat.
//
// An input has a key and a value. The value is a byte for its [Kind], eight bytes
// of its number, big endian, and a filler. It comes to this:
//
//   - A null value makes one output with index 0: a null value, in the left topic.
//   - A dropped input makes nothing.
//   - A regular input makes 1 + number mod 3 outputs, with indices from 0. Output i
//     goes to the left topic if number / 3 + i is even, to the right one if not. Its
//     value is a byte for i, the eight bytes of the number, and the filler with each
//     byte XORed with the lowest byte of 37 * (i + 1).
//   - Any other input becomes a dead letter, and nothing else: a poisonous one is
//     refused by the pipeline's check. One that swells and one that bursts make output
//     0 as a regular one does, and a second one, in the right topic, that is refused:
//     its value of [SwollenSize] or [BurstSize] bytes that do not compress is more than
//     the producer takes, or than the topic's max.message.bytes ([RightMaxMessageBytes]).
//
// With counts, the value of a regular input's output ends with eight bytes more, big endian:
// the how many-th of its key it is, in its partition, of those that are null or regular.
// That is state of the worker's, in a topic.
//
// Outputs have their input's key, and the headers [HeaderPartition], [HeaderOffset]
// and [HeaderIndex]; with units, also [HeaderUnit]. A dead letter has its input's key
// and value, and its place in Leat's headers.
//
// A unit is what a task puts out between two commits: all of it is in one
// transaction. It comes with a manifest, which says what belongs to it.
package workload
