//go:build race

package sqlsink_test

// raceEnabled: SQLite is some ten times slower then.
const raceEnabled = true
