package uplink

import (
	"errors"
	"time"
)

type permanentError struct {
	error
	tooLarge bool
}

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks an error as final for these bytes: sending them again would
// fail again. The Forwarder bisects the message and sets the poison aside.
func Permanent(err error) error { return permanentError{error: err} }

// TooLarge marks an error as Permanent because the remote side takes no message
// of this size. The Forwarder then makes smaller ones from the start.
func TooLarge(err error) error { return permanentError{error: err, tooLarge: true} }

// IsPermanent reports whether err was marked by Permanent or TooLarge.
func IsPermanent(err error) bool {
	return errors.As(err, new(permanentError))
}

// IsTooLarge reports whether err was marked by TooLarge.
func IsTooLarge(err error) bool {
	var e permanentError
	ok := errors.As(err, &e)
	return ok && e.tooLarge
}

type retryAfterError struct {
	error
	delay         time.Duration
	misconfigured bool
}

func (e retryAfterError) Unwrap() error { return e.error }

// RetryAfter marks an error with the delay that the remote side asked for.
func RetryAfter(err error, d time.Duration) error { return retryAfterError{error: err, delay: d} }

// ConfigDelay is how long is waited after an error that only a person can end.
const ConfigDelay = time.Minute

// Misconfigured marks an error that only a person can end, here or on the remote
// side: a wrong password, a topic that is not allowed. It is never held against the
// readings, which wait; as of RetryAfter, for a minute between two tries.
func Misconfigured(err error) error {
	return retryAfterError{error: err, delay: ConfigDelay, misconfigured: true}
}

// IsMisconfigured reports whether err was marked by Misconfigured.
func IsMisconfigured(err error) bool {
	var e retryAfterError
	ok := errors.As(err, &e)
	return ok && e.misconfigured
}

// RetryDelay returns the delay of an error marked by RetryAfter.
func RetryDelay(err error) (time.Duration, bool) {
	var e retryAfterError
	ok := errors.As(err, &e)
	return e.delay, ok
}

// Worse returns the error that decides about a message of several pieces: one that
// concerns its bytes before one that names a delay, and that before any other.
func Worse(a, b error) error {
	if gravity(b) > gravity(a) {
		return b
	}
	return a
}

func gravity(err error) int {
	_, delayed := RetryDelay(err)
	switch {
	case err == nil:
		return 0
	case IsPermanent(err):
		return 3
	case delayed:
		return 2
	}
	return 1
}
