package secure

import (
	"errors"
	"fmt"
	"slices"

	"github.com/IBM/sarama"
)

// The operations and kinds of resources that an [AuthorizationError] names, as in
// Kafka's ACLs.
const (
	Read            = "READ"
	Write           = "WRITE"
	Describe        = "DESCRIBE"
	DescribeConfigs = "DESCRIBE_CONFIGS"
	IdempotentWrite = "IDEMPOTENT_WRITE"
	Create          = "CREATE"

	Topic           = "topic"
	Group           = "group"
	TransactionalID = "transactional-id"
	Cluster         = "cluster"
)

// AuthorizationError says which right the user lacks. Waiting does not help: somebody
// has to grant it.
type AuthorizationError struct {
	// Operation is Kafka's: READ, WRITE, DESCRIBE, DESCRIBE_CONFIGS, IDEMPOTENT_WRITE, CREATE.
	Operation string
	// ResourceType is topic, group, transactional-id or cluster, as kafka-acls has
	// them.
	ResourceType string
	// Resource is its name, empty for the cluster.
	Resource string
	// Err is the broker's answer.
	Err error
}

// Error says what to grant.
func (e *AuthorizationError) Error() string {
	what, where := e.ResourceType, e.ResourceType
	if e.Resource != "" {
		what, where = fmt.Sprintf("%s %q", what, e.Resource), where+" "+e.Resource
	}
	grant := e.Operation + " on " + where
	if e.Operation == IdempotentWrite {
		grant = "WRITE on a topic, or IDEMPOTENT_WRITE on the cluster,"
	}
	return fmt.Sprintf("%s: not allowed to %s; grant %s to the user (%v)", what, e.Operation, grant, e.Err)
}

// Unwrap returns the broker's answer.
func (e *AuthorizationError) Unwrap() error { return e.Err }

// Denied makes an [AuthorizationError] of a broker's answer to a request that needed
// an operation on a resource. An answer of another kind comes back as it is.
func Denied(err error, operation, resourceType, resource string) error {
	if err == nil || !denies(err) {
		return err
	}
	if _, ok := errors.AsType[*AuthorizationError](err); ok {
		return err
	}
	return &AuthorizationError{Operation: operation, ResourceType: resourceType, Resource: resource, Err: err}
}

// Needs corrects the operation of an [AuthorizationError]: a look that needs DESCRIBE
// was denied, and what will be done needs more, which includes it. The error must not
// have been made part of a text yet.
func Needs(err error, operation string) error {
	if e, ok := errors.AsType[*AuthorizationError](err); ok && e.Operation == Describe {
		e.Operation = operation
	}
	return err
}

func denies(err error) bool {
	return slices.ContainsFunc([]error{
		sarama.ErrTopicAuthorizationFailed, sarama.ErrGroupAuthorizationFailed,
		sarama.ErrClusterAuthorizationFailed, sarama.ErrTransactionalIDAuthorizationFailed,
	}, func(e error) bool { return errors.Is(err, e) })
}

// Refused reports whether the cluster refuses us, for what we are or want: no other
// attempt fares better before somebody changes something.
func Refused(err error) bool {
	if err == nil {
		return false
	}
	if _, ok := errors.AsType[*AuthenticationError](err); ok {
		return true
	}
	return denies(err) || slices.ContainsFunc([]error{
		sarama.ErrSASLAuthenticationFailed, sarama.ErrUnsupportedSASLMechanism, sarama.ErrIllegalSASLState,
	}, func(e error) bool { return errors.Is(err, e) })
}
