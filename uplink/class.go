package uplink

import (
	"errors"
	"time"
)

type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks an error as final for these bytes: sending them again would
// fail again. The Forwarder bisects the chunk and sets the poison aside.
func Permanent(err error) error { return permanentError{err} }

// IsPermanent reports whether err was marked by Permanent.
func IsPermanent(err error) bool {
	_, ok := errors.AsType[permanentError](err)
	return ok
}

type retryAfterError struct {
	error
	delay time.Duration
}

func (e retryAfterError) Unwrap() error { return e.error }

// RetryAfter marks an error with the delay that the remote side asked for.
func RetryAfter(err error, d time.Duration) error { return retryAfterError{err, d} }

// RetryDelay returns the delay of an error marked by RetryAfter.
func RetryDelay(err error) (time.Duration, bool) {
	e, ok := errors.AsType[retryAfterError](err)
	return e.delay, ok
}
