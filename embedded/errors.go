package embedded

import (
	"errors"
	"fmt"
)

// The kinds of error that [Start] returns; compare with [errors.Is]. Anything else is an error of
// the operating system, such as a port that is taken or a directory that cannot be written.
var (
	// ErrInvalidConfig is the kind of every mistake that [Config.Validate] finds. Each is a
	// *[ConfigError].
	ErrInvalidConfig = errors.New("embedded: invalid config")

	// ErrTopicDiffers means that a topic kept in DataDir has another number of partitions than
	// the one asked for. Ask for the kept number, or delete DataDir.
	ErrTopicDiffers = errors.New("embedded: kept topic differs")

	// ErrRegistryState means that the schemas kept in DataDir cannot be restored with the ids they
	// had: the file was edited, or written by a version of this package that numbered otherwise.
	// Starting anyway would decode kept records with the wrong schemas.
	ErrRegistryState = errors.New("embedded: kept schemas cannot be restored")
)

// ConfigError is one mistake in a [Config].
type ConfigError struct {
	// Field is where the mistake is, as one would write it in Go: "Topics[2].Name".
	Field string
	// Problem says what is wrong with it.
	Problem string
}

// Error names the field and the problem.
func (e *ConfigError) Error() string { return fmt.Sprintf("embedded: %s: %s", e.Field, e.Problem) }

// Unwrap returns [ErrInvalidConfig].
func (e *ConfigError) Unwrap() error { return ErrInvalidConfig }
