package onelink

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/internal/base/porttest"
)

// recorder is a connection that notes every write.
type recorder struct {
	net.Conn
	mu     sync.Mutex
	writes []string
	err    error
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return 0, r.err
	}
	r.writes = append(r.writes, string(p))
	return len(p), nil
}

func (r *recorder) Read(p []byte) (int, error) { return copy(p, "abc"), io.EOF }

func (r *recorder) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writes
}

func TestCorkedWritesAreOne(t *testing.T) {
	r := &recorder{}
	c := Over(r)
	io.WriteString(c, "a")
	c.Cork()
	io.WriteString(c, "b")
	io.WriteString(c, "c")
	if got := r.got(); len(got) != 1 || c.Written() != 3 {
		t.Errorf("%q before Uncork, %d bytes written", got, c.Written())
	}
	if err := c.Uncork(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "d")
	if got := strings.Join(r.got(), "|"); got != "a|bc|d" {
		t.Errorf("%q", got)
	}
}

func TestWhatIsHeldBackDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		c := Over(r)
		c.Cork()
		for _, want := range []int{1, 2} {
			io.WriteString(c, "a")
			synctest.Wait()
			if len(r.got()) != want-1 {
				t.Errorf("written at once: %q", r.got())
			}
			time.Sleep(2 * moment)
			synctest.Wait()
			if len(r.got()) != want {
				t.Errorf("not written after a moment: %q", r.got())
			}
		}
		io.WriteString(c, strings.Repeat("b", 3*joined))
		if len(r.got()) < 3 {
			t.Error("a lot waits for more")
		}
	})
}

func TestTheFirstFaultStays(t *testing.T) {
	r := &recorder{}
	c := Over(r)
	if c.Fault() != nil {
		t.Error(c.Fault())
	}
	c.Read(make([]byte, 10))
	r.err = errors.New("later")
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("no error")
	}
	if err := c.Fault(); !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "hint: ") || c.Heard() != 3 {
		t.Errorf("%v, %d bytes heard", err, c.Heard())
	}
}

// What was dropped says so, if nothing else was wrong with it; and only a write that
// is under way is reason enough to unstick.
func TestDroppedForAReason(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	c := Over(near)
	c.Unstick(0)
	if c.Fault() != nil {
		t.Fatal("an idle connection was dropped")
	}
	stuck := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, "nobody reads this")
		stuck <- err
	}()
	for c.writing.Load() == 0 {
		runtime.Gosched()
	}
	c.Unstick(0)
	if err := <-stuck; err == nil || !errors.Is(c.Fault(), net.ErrClosed) {
		t.Errorf("%v, %v", err, c.Fault())
	}
}

// What was held back for a moment and does not get out is a write that is stuck, too.
func TestLateFlushCanBeUnstuck(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	c := Over(near)
	c.Cork()
	io.WriteString(c, "nobody reads this")
	for c.writing.Load() == 0 { // until the moment is over
		runtime.Gosched()
	}
	c.Unstick(0)
	if !errors.Is(c.Fault(), net.ErrClosed) {
		t.Error(c.Fault())
	}
	c.mu.Lock() // the flush has ended
	defer c.mu.Unlock()
}

// fake is a Link that counts.
type fake struct{ dead, closed bool }

func (f *fake) Alive() bool  { return !f.dead }
func (f *fake) Close() error { f.closed = true; return nil }

func TestSeatOpensWhenItMust(t *testing.T) {
	s, opened := NewSeat[*fake](), 0
	open := func(context.Context) (*fake, error) { opened++; return &fake{}, nil }
	refuse := errors.New("nobody there")
	if _, err := s.Get(t.Context(), func(context.Context) (*fake, error) { return nil, refuse }); !errors.Is(err, refuse) {
		t.Error(err)
	}
	first, _ := s.Get(t.Context(), open)
	again, _ := s.Get(t.Context(), open)
	if first != again || opened != 1 {
		t.Errorf("opened %d times", opened)
	}
	first.dead = true
	second, err := s.Get(t.Context(), open)
	if err != nil || second == first || !first.closed || opened != 2 {
		t.Errorf("%v, opened %d times, the dead one closed: %v", err, opened, first.closed)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // a place that is free and a context that has ended are equals to select
		if _, err := s.Get(over, open); !errors.Is(err, context.Canceled) {
			t.Fatalf("without time: %v", err)
		}
	}
	if err := s.Close(); err != nil || !second.closed {
		t.Errorf("close: %v, closed: %v", err, second.closed)
	}
	if _, err := s.Get(t.Context(), open); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Only one dials; who waits for that one waits no longer than he wants.
func TestSeatHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, release := NewSeat[*fake](), make(chan struct{})
		go s.Get(t.Context(), func(context.Context) (*fake, error) { <-release; return &fake{}, nil })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Get(ctx, nil); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "hint: ") {
			t.Error(err)
		}
		close(release)
		if _, err := s.Get(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}

func TestOpenExplainsItself(t *testing.T) {
	if _, err := Open(t.Context(), nil, porttest.For(t), nil); err == nil || !strings.Contains(err.Error(), "nothing listens") {
		t.Error(err)
	}
}

func FuzzStatedLimit(f *testing.F) {
	f.Add("PRECONDITION_FAILED - message size 2000 is larger than configured max size 1000")
	f.Add("message size 1 is larger than max size 9999999999")
	f.Fuzz(func(t *testing.T, text string) {
		if n := StatedLimit(text); n < 0 || n > 9_999_999_999 || n > 0 && !strings.Contains(text, "larger than") {
			t.Errorf("%q: %d", text, n)
		}
		if q := Quote(text); strings.ContainsAny(q, "\x1b\n\r") || len(q) > 6*maxQuote {
			t.Errorf("%q", q)
		}
	})
}

func FuzzSwapIsItsOwnInverse(f *testing.F) {
	f.Add("north/pump-7.motor")
	f.Fuzz(func(t *testing.T, name string) {
		if strings.ToValidUTF8(name, "") != name {
			return
		}
		if got := Swap(Swap(name)); got != name {
			t.Errorf("%q became %q", name, got)
		}
	})
}

// Who has patience leaves a connection alone on which something is written to its end
// meanwhile, and not one on which nothing is.
func TestAWriteThatEndsIsNotStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := Over(near)
		go io.WriteString(c, "x")
		synctest.Wait()
		time.AfterFunc(time.Second, func() { far.Read(make([]byte, 1)) })
		if c.Unstick(2 * time.Second); c.Fault() != nil {
			t.Errorf("it was dropped: %v", c.Fault())
		}
		go io.WriteString(c, "y")
		synctest.Wait()
		if c.Unstick(2 * time.Second); !errors.Is(c.Fault(), net.ErrClosed) {
			t.Errorf("a write that never ends is left alone: %v", c.Fault())
		}
	})
}
