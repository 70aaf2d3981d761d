package netcheck

import (
	"crypto/x509"
	"time"
)

// Clock is what is known of a machine's clock.
type Clock struct {
	Now time.Time
	// Synced says that the kernel is told the time by somebody.
	Synced bool
	// Past is a time that has passed for certain: when the program was built, or
	// when it last wrote to its disk.
	Past time.Time
}

const setClock = `turn on a time service, for example with "timedatectl set-ntp true"; until then, readings say that their time is uncertain`

// IsWrong reports whether the clock is wrong for certain.
func (c Clock) IsWrong() bool { return c.Now.Before(c.Past) }

// Judge says whether the clock can be believed.
func (c Clock) Judge() Finding {
	switch {
	case c.IsWrong():
		return Weak(setClock, "the clock is wrong: it says %s, and %s has passed for certain", day(c.Now), day(c.Past))
	case !c.Synced:
		return Weak(setClock, "the clock says %s and is not synchronised", c.Now.UTC().Format(time.RFC3339))
	}
	return Fine("the clock is synchronised: %s", c.Now.UTC().Format(time.RFC3339))
}

// outOfDate decides who is wrong when a certificate is not valid at the time that
// the clock shows. theirs is what the other side's clock says, zero if that is not
// known. The finding is about the step blamed.
func (c Clock) outOfDate(cert *x509.Certificate, theirs time.Time) (f Finding, blamed string) {
	what, from, to := whose(cert), day(cert.NotBefore), day(cert.NotAfter)
	renew := "have it renewed by who runs the other side; the clock here is right"
	valid := func(t time.Time) bool { return !t.Before(cert.NotBefore) && !t.After(cert.NotAfter) }
	early := c.Now.Before(cert.NotBefore)
	switch {
	case c.IsWrong():
		return Wrong("set the clock: "+setClock, "the clock here is wrong, so the certificate is taken for invalid: it says %s, %s has passed for certain, and %s is valid from %s until %s", day(c.Now), day(c.Past), what, from, to), Time
	case !early && c.Past.After(cert.NotAfter):
		return Wrong("have it renewed by who runs the other side", "%s has expired: it ended on %s, whatever the clock here says", what, to), Secure
	case c.Synced && early:
		return Wrong("was it made on a machine with a wrong clock? Have it made again", "%s is valid from %s only, and the clock here is synchronised and says %s", what, from, day(c.Now)), Secure
	case c.Synced:
		return Wrong(renew, "%s has expired: it ended on %s, and the clock here is synchronised and says %s", what, to, day(c.Now)), Secure
	case !theirs.IsZero() && valid(theirs):
		return Wrong("set the clock: "+setClock, "the clock here is wrong, so the certificate is taken for invalid: it says %s, and the other side says that it is %s", day(c.Now), day(theirs)), Time
	case !theirs.IsZero() && theirs.After(cert.NotAfter):
		return Wrong("have it renewed by who runs the other side", "%s has expired: it ended on %s, and the other side itself says that it is %s", what, to, day(theirs)), Secure
	case early:
		return Wrong("set the clock: "+setClock, "the clock here is behind: it says %s and is not synchronised, and %s is valid from %s", day(c.Now), what, from), Time
	}
	return Wrong("look whether that is today's date: if not, set the clock (timedatectl set-ntp true); if it is, have the certificate renewed",
		"%s ended on %s, and the clock here, which is not synchronised, says %s: one of the two is out of date", what, to, day(c.Now)), Time
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// soon is how long before its end a certificate is warned of: a gateway in the field
// stops delivering then without anybody having changed anything. One that is made for a
// short time is renewed late, by a program: of that the last quarter is soon.
func soon(from, ends time.Time) time.Duration {
	return min(30*24*time.Hour, ends.Sub(from)/4)
}

// OfCertificate is about the end of a certificate that is valid from then on, and now.
func OfCertificate(whose string, from, ends, now time.Time) Finding {
	if ends.Sub(now) < soon(from, ends) {
		return Weak("have it renewed", "%s ends on %s", whose, day(ends))
	}
	return Fine("%s is valid until %s", whose, day(ends))
}
