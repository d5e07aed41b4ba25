// Package browsertest looks at the console with a real browser, on a real Kafka. It is
// a module of its own so that what drives the browser is no dependency of Leat.
//
// scripts/test-browser runs it.
package browsertest
