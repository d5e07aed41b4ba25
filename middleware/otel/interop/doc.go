// Package interop tests middleware/otel against what its users put behind it: an OTLP
// exporter, whose spans arrive at a receiver, and the propagators for B3 and Jaeger. It is
// a module of its own, so that what these depend on (gRPC among it) is not in go.mod or
// go.sum of those who use Leat.
package interop
