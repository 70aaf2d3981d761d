package servertest

import (
	"crypto/rand"
	"maps"
	"slices"
	"testing"
	"time"
)

// TestUserIsTheOnlyOne: with User, others are refused.
func TestUserIsTheOnlyOne(t *testing.T) {
	t.Parallel() // servers are waited for most of the time
	for _, c := range servers() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.start(t, User("north", "s3cr3t"), Only("amqp"))
			if err := c.take(s, login{"north", "s3cr3t"}, []byte("hello")); err != nil {
				t.Errorf("the user: %v", err)
			}
			if err := c.put(s, login{"north", "guessed"}, []byte("hello")); err == nil {
				t.Error("a wrong password is let in")
			} else {
				t.Logf("a wrong password: %v", err)
			}
			if err := c.put(s, login{}, []byte("hello")); err == nil {
				t.Error("nobody in particular is let in")
			}
		})
	}
}

// TestFillAndClear: a server that was made full takes nothing until it is cleared.
func TestFillAndClear(t *testing.T) {
	t.Parallel() // servers are waited for most of the time
	for _, c := range servers() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.start(t, Only("amqp"))
			if s.kind.fill == nil {
				t.Skip("there is no way to make it full")
			}
			if err := c.take(s, login{}, noise(100)); err != nil {
				t.Fatalf("at first: %v", err)
			}
			s.Fill()
			var refused error
			for range 100 {
				if refused = c.put(s, login{}, noise(64<<10)); refused != nil {
					break
				}
			}
			if refused == nil {
				t.Error("it takes 100 messages of 64 KiB when it is full")
			}
			t.Logf("full: %v", refused)
			s.Clear()
			if err := c.kept(s); err != nil {
				t.Errorf("what it had before: %v", err)
			}
			if err := c.take(s, login{}, noise(100)); err != nil {
				t.Errorf("when there is room again: %v", err)
			}
		})
	}
}

// TestMaxMessage: what is larger is refused, what is smaller is not.
func TestMaxMessage(t *testing.T) {
	t.Parallel() // servers are waited for most of the time
	for _, c := range servers() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.name == "VictoriaMetrics" {
				t.Skip("it has no such limit")
			}
			limit := 64 << 10
			if c.name == "Redis" {
				limit = 1 << 20 // the least that it knows
			}
			s := c.start(t, MaxMessage(limit), Only("amqp"))
			err := c.put(s, login{}, noise(2*limit))
			if err == nil {
				t.Errorf("%d bytes are taken, with a limit of %d", 2*limit, limit)
			}
			t.Logf("too large: %v", err)
			if err := c.take(s, login{}, noise(limit/2)); err != nil {
				t.Errorf("%d bytes: %v", limit/2, err)
			}
		})
	}
}

// TestWhoForgetsWhatItHasAcknowledged: five of them have an acknowledged message
// after kill -9, and two of them only after they were asked to end. The doors out
// rely on it, and docs/understand/servers.md says so.
func TestWhoForgetsWhatItHasAcknowledged(t *testing.T) {
	t.Parallel() // servers are waited for most of the time
	for _, c := range servers() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.killed(t)
			before := maps.Clone(s.addrs)
			s.Start()
			after := c.kept
			if c.forgets {
				after = c.forgot
			}
			if err := after(s); err != nil {
				t.Errorf("after kill -9: %v", err)
			}
			if err := c.take(s, login{}, []byte("kept")); err != nil {
				t.Fatal(err)
			}
			s.Stop()
			s.Start()
			if err := c.kept(s); err != nil {
				t.Errorf("after stop: %v", err)
			}
			if !maps.Equal(s.addrs, before) {
				t.Errorf("it was at %v, and is at %v", before, s.addrs)
			}
		})
	}
}

// TestVolatile: with other options, the same server is another one.
func TestVolatile(t *testing.T) {
	s := Redis(t)
	if err := putRedis(s, login{}, []byte("kept")); err != nil {
		t.Fatal(err)
	}
	s.Restart(Volatile())
	if has, err := hasRedis(s); has || err != nil {
		t.Errorf("a server that keeps nothing has a message: %v", err)
	}
}

// TestSharedIsRepaired: a shared server that a test has left dead, frozen or full
// is none of these for the next.
func TestSharedIsRepaired(t *testing.T) {
	shared := Share(Redis)
	defer shared.end()
	for _, harm := range []struct {
		name string
		do   func(*Server)
	}{{"Kill", (*Server).Kill}, {"Stop", (*Server).Stop}, {"Freeze", (*Server).Freeze}, {"Fill", (*Server).Fill}} {
		t.Run(harm.name, func(t *testing.T) { harm.do(shared.Get(t)) })
		t.Run("After"+harm.name, func(t *testing.T) {
			if err := putRedis(shared.Get(t), login{}, []byte("hello")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCertificatesAreWhatTheySay(t *testing.T) {
	a := NewAuthority(t)
	leaf := a.Expired().TLS.Leaf
	if age := time.Since(leaf.NotAfter); age < 0 || age > 5*time.Minute {
		t.Errorf("the expired certificate ends %v ago", age)
	}
	leaf = a.Issue(Certificate{Hosts: []string{"other.example", "::1"}}).TLS.Leaf
	if !slices.Equal(leaf.DNSNames, []string{"other.example"}) || len(leaf.IPAddresses) != 1 {
		t.Errorf("hosts %v %v", leaf.DNSNames, leaf.IPAddresses)
	}
	if err := leaf.CheckSignatureFrom(a.cert); err != nil {
		t.Error(err)
	}
}

// noise cannot be compressed.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
