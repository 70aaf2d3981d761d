package decode

import "math"

// fromNow returns the time so many nanoseconds from now on. A reading that it
// dates is reading.Stamped: the clock is the gateway's, and may not be set yet,
// so that there is no saying whether the time is plausible; but it is one that
// Intake leaves as it is. ok is false for a time beyond latest, and if nobody
// knows what now is.
func fromNow(now, offset int64) (ns int64, ok bool) {
	if now <= 0 || offset > math.MaxInt64-now || now+offset >= latest {
		return 0, false
	}
	return max(now+offset, 1), true
}
