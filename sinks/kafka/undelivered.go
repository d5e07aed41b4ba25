package kafka

import (
	"fmt"
	"sync"
)

// maxUndelivered bounds the errors that are kept.
const maxUndelivered = 10

// UndeliveredError tells of records that were taken and not written.
type UndeliveredError struct {
	// Records is how many.
	Records int64
	// Errors are the first of their errors, at most 10.
	Errors []*DeliveryError
}

// Error tells how many, and the first one's error.
func (e *UndeliveredError) Error() string {
	return fmt.Sprintf("%d records were not written, the first: %v", e.Records, e.Errors[0])
}

// Unwrap returns Errors, so that errors.Is and As look into all of them.
func (e *UndeliveredError) Unwrap() []error {
	all := make([]error, len(e.Errors))
	for i, err := range e.Errors {
		all[i] = err
	}
	return all
}

// undelivered collects failures from one flush to the next.
type undelivered struct {
	mu sync.Mutex
	e  UndeliveredError
}

// note counts a failure and returns it as a DeliveryError.
func (u *undelivered) note(topic string, partition int32, err error) *DeliveryError {
	e := newDeliveryError(topic, partition, err)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.e.add(e)
	return e
}

func (e *UndeliveredError) add(err *DeliveryError) {
	e.Records++
	if len(e.Errors) < maxUndelivered {
		e.Errors = append(e.Errors, err)
	}
}

// take returns what has failed since the last call, nil if nothing has.
func (u *undelivered) take() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.e.Records == 0 {
		return nil
	}
	e := u.e
	u.e = UndeliveredError{}
	return &e
}
