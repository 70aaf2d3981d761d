package uplinktest

import (
	"crypto/rand"
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
)

// WrongPassword is what Real.BadPassword logs in with. No error may contain it.
const WrongPassword = "guessed-4711"

// Real is a door out that is tested against a real server, which does what real
// servers do: it is killed, frozen, full, far away and badly configured.
type Real struct {
	// Server returns a running server, either a new one for each case or a shared
	// one, with what the door needs there: users, queues, streams. Several cases
	// kill it.
	Server func(t *testing.T) *servertest.Server
	// Protocol is what the server's Addr is asked for.
	Protocol string
	// New returns a Sink that talks to the server at address, host:port. The
	// suite closes a Sink that is an io.Closer.
	New func(t *testing.T, address string) uplink.Sink
	// Read returns the messages that an independent reader finds in the server,
	// whose address this is. It is called once a case, at the end. What other
	// cases left may be among them. A protocol that has no place for the key
	// leaves Key empty, and one whose bodies cannot be read back leaves Body nil.
	Read func(t *testing.T, address string) []Received
	// BadPassword is New with WrongPassword; nil if the protocol has none.
	BadPassword func(t *testing.T, address string) uplink.Sink
	// TLS is New with TLS; nil if the protocol has none.
	TLS func(t *testing.T, address string, cfg *tls.Config) uplink.Sink
	// Secure returns the address of a server that shows the certificate. Nil puts
	// a TLS front before Server, which is right for protocols that begin with TLS.
	Secure func(t *testing.T, certificate servertest.Option) string
	// Body makes the body of a message, about size bytes large and different for
	// each key, where the server does not take any bytes; ContentType is its type.
	Body        func(key uplink.Key, size int) []byte
	ContentType string
	// Pieces says that the Sink sends each Part of a message by itself, under
	// Message.PartKey.
	Pieces bool
	// Forgets says that this server acknowledges before it has written: a kill -9
	// loses something, and nobody can help it. It is asked to stop instead.
	Forgets bool
	// Dedups says that the server itself drops re-sends: nothing is there twice.
	Dedups bool
	// Fills says that Server.Fill works, and that the server refuses messages then.
	Fills bool
	// Fill is another way to make the server full, for example the limit of one
	// stream, and returns what ends it.
	Fill func(t *testing.T, s *servertest.Server) (clear func())
	// TooLarge is the size of a body that the server of this test refuses, and
	// 1000 is one that it takes; 0 if it takes all.
	TooLarge int
}

// RunReal runs the suite against a real server, as subtests of t.
func RunReal(t *testing.T, real Real) {
	t.Run("TakesAndKeeps", real.takesAndKeeps)
	t.Run("TwiceInEffect", real.twiceInEffect)
	if real.Pieces {
		t.Run("Pieces", real.pieces)
	}
	t.Run("Frozen", real.frozen)
	t.Run("SlowLink", real.slowLink)
	t.Run("Probe", real.probe)
	if real.TooLarge > 0 {
		t.Run("TooLarge", real.tooLarge)
	}
	if real.BadPassword != nil {
		t.Run("WrongPassword", real.wrongPassword)
	}
	if real.TLS != nil {
		t.Run("Certificates", real.certificates)
	}
	if real.Fills {
		t.Run("Full", func(t *testing.T) {
			real.full(t, func(_ *testing.T, s *servertest.Server) func() { s.Fill(); return s.Clear })
		})
	}
	if real.Fill != nil {
		t.Run("FullItsWay", func(t *testing.T) { real.full(t, real.Fill) })
	}
	t.Run("KillInMidStream", real.killInMidStream)
	t.Run("LeavesNothingBehind", real.leavesNothingBehind)
}

// closing closes a Sink at the end of the test.
func closing(t *testing.T, s uplink.Sink) uplink.Sink {
	t.Helper()
	if c, ok := s.(io.Closer); ok {
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	return s
}

// batch makes the messages of one case: the server may hold those of others.
type batch struct {
	real    Real
	gateway string
}

func (r Real) batch() batch { return batch{r, "real-" + strings.ToLower(rand.Text()[:12])} }

// message returns the n-th message of the batch, always the same one.
func (b batch) message(n, size int) uplink.Message {
	m := message(n, size)
	m.Gateway = b.gateway
	copy(m.Body, b.gateway+"/") // bodies of different batches differ
	if b.real.Body != nil {
		m.Body, m.ContentType = b.real.Body(m.Key, size), b.real.ContentType
	}
	return m
}

// stopHard ends the server as hard as it can stand.
func (r Real) stopHard(s *servertest.Server) {
	if r.Forgets {
		s.Stop()
		return
	}
	s.Kill()
}

// hinted: an error that people will read names a hint and no secret.
func hinted(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if !strings.Contains(err.Error(), " — hint: ") {
		t.Errorf("the error has no hint: %v", err)
	}
	if n := strings.Count(err.Error(), "hint: "); n > 1 {
		t.Errorf("the error has %d hints: %v", n, err)
	}
	if strings.Contains(err.Error(), WrongPassword) {
		t.Errorf("the error shows the password: %v", err)
	}
}

// soon is how soon a Send must have ended after its context. What Sinks have as their
// own bounds is longer.
const soon = 8 * time.Second
