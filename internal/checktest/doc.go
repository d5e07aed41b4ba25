// Package checktest tells whether a pipeline did what it promises. It stands on
// franz-go, which shares no code with the client under test: records made from
// ids, a checker that looks at every one of them, and a driver that runs workers
// as processes and disturbs them. It is for tests, on an embedded cluster and on
// a real one.
package checktest
