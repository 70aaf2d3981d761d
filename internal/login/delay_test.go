package login

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// guess signs in with a wrong password and returns how long to wait.
func (b *bench) guess(from From) time.Duration {
	b.t.Helper()
	_, err := b.SignIn(b.t.Context(), from, "not the password")
	if late := new(Delay); errors.As(err, &late) {
		return late.Wait
	}
	if !errors.Is(err, ErrWrong) {
		b.t.Errorf("from %v: %v", from, err)
	}
	return 0
}

func TestWrongPasswordsTakeLongerAndLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := operated(t)
		for i := range free {
			if wait := b.guess(other); wait != 0 {
				t.Fatalf("guess %d: wait %v", i+1, wait)
			}
		}
		for want := time.Second; want < 2*mostWait; want *= 2 {
			if wait := b.guess(other); wait != 0 {
				t.Fatalf("wait %v after the wait", wait)
			}
			want := min(want, mostWait)
			if wait := b.guess(other); wait != want || b.State(other).Wait != want {
				t.Fatalf("wait %v, the page says %v, want %v", wait, b.State(other).Wait, want)
			}
			if _, err := b.SignIn(t.Context(), other, good); !errors.As(err, new(*Delay)) {
				t.Fatal("the right password is tried while others wait: that tells that it is right")
			}
			time.Sleep(want)
		}
		if _, err := b.SignIn(t.Context(), other, good); err != nil || b.State(other).Wait != 0 {
			t.Errorf("%v, wait %v", err, b.State(other).Wait)
		}
		if b.Stats().Events[Delayed] == 0 {
			t.Error("not counted")
		}
	})
}

func TestGuessesFromManyAddressesAreGuessesAtOneAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := operated(t) // from the phone
		tried := 0
		for i := range 200 {
			from := From{Addr: netip.AddrFrom4([4]byte{192, 168, 5, byte(i)})}
			if b.guess(from) == 0 {
				tried++
			}
		}
		if tried != free+1 {
			t.Errorf("%d guesses at once", tried)
		}
		// None of that keeps the operator out, who has been here before, or is
		// at the machine itself.
		for _, from := range []From{phone, here} {
			if _, err := b.SignIn(t.Context(), from, good); err != nil {
				t.Errorf("from %v: %v", from, err)
			}
		}
	})
}

func TestNobodyCanLockOutWhoStandsBeforeTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := operated(t)
		longest := time.Duration(0)
		for range 100 {
			wait := b.guess(here)
			longest = max(longest, wait)
			b.guess(proxy) // a proxy here is another matter
			time.Sleep(wait)
		}
		if longest != mostLocalWait {
			t.Errorf("the longest wait was %v", longest)
		}
		if err := b.SetPassword(t.Context(), "another horse battery"); err != nil {
			t.Error(err)
		}
		if _, err := b.SignIn(t.Context(), here, "another horse battery"); err != nil {
			t.Error(err)
		}
	})
}

func TestGuessesAtOnceAreCounted(t *testing.T) {
	b := operated(t)
	var all sync.WaitGroup
	waits := make([]time.Duration, 50)
	for i := range waits {
		all.Go(func() { waits[i] = b.guess(other) })
	}
	all.Wait()
	tried := 0
	for _, wait := range waits {
		if wait == 0 {
			tried++
		}
	}
	if tried != free+1 {
		t.Errorf("%d of %d guesses at once were tried", tried, len(waits))
	}
}

func TestWrongGuessesAreForgottenAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := operated(t)
		for range 3 {
			for range free {
				if wait := b.guess(other); wait != 0 {
					t.Fatalf("wait %v", wait)
				}
			}
			time.Sleep(forgiven + time.Second)
		}
	})
}

func TestWrongCodesAreDelayedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for range free + 1 {
			if _, err := b.SetUp(t.Context(), other, newCode(), good); !errors.Is(err, ErrWrong) {
				t.Errorf("%v", err)
			}
		}
		if _, err := b.SetUp(t.Context(), other, b.PrintedCode(), good); !errors.As(err, new(*Delay)) || b.State(other).Wait == 0 {
			t.Errorf("%v", err)
		}
		if _, err := b.SetUp(t.Context(), phone, b.PrintedCode(), good); err != nil {
			t.Errorf("somebody else: %v", err)
		}
	})
}

func TestWhoGuessesFillsNothing(t *testing.T) {
	b := newBench(t)
	now := time.Now()
	for i := range 3 * maxAddresses {
		from := From{Addr: netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::1", i))}
		b.delays.begin(now.Add(time.Duration(i)), from, false)
		b.delays.know(now.Add(time.Duration(i)), from)
	}
	if len(b.delays.places) != maxAddresses || len(b.delays.known) != maxKnown {
		t.Errorf("%d places, %d known", len(b.delays.places), len(b.delays.known))
	}
	one, two := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:2")
	if (From{Addr: one}).place() != (From{Addr: two}).place() {
		t.Error("a customer's network of IPv6 is more than one place")
	}
}
