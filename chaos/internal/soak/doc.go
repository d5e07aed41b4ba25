//go:build unix

// Package soak lets things go wrong for an hour: one fault after the other, some
// together, by a schedule that is a function of the seed alone, while workers are told to
// stop every half minute. It plays on package scenario's [scenario.Run] and is judged as
// a scenario is.
package soak
