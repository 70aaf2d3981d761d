package login

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func TestTwoWhoSetUpAtOnceAreNotBothOperators(t *testing.T) {
	b := newBench(t)
	code := b.PrintedCode()
	var all sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		all.Go(func() { _, errs[i] = b.SetUp(t.Context(), phone, code, good) })
	}
	all.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		}
	}
	if done != 1 {
		t.Errorf("%d were told that they are: %v", done, errs)
	}
}

// A code is good for one operator: whoever waits with it while he comes and goes again
// needs the next one.
func TestACodeEndsWithTheOperatorThatItMade(t *testing.T) {
	b := newBench(t)
	code, hash := b.PrintedCode(), b.config.Hash
	b.config.Hash = func(password []byte) string { // somebody else is quicker, and forgotten
		hashed := hash(password)
		b.mu.Lock()
		err := b.setOperator(hashed)
		b.mu.Unlock()
		if err = errors.Join(err, b.Reset()); err != nil {
			t.Error(err)
		}
		if next, _, err := b.Code(); err != nil || next == code {
			t.Errorf("%q again, %v", next, err)
		}
		return hashed
	}
	if _, err := b.SetUp(t.Context(), phone, code, good); !errors.Is(err, ErrWrong) || b.State(phone).SetUp {
		t.Errorf("%v; set up: %v", err, b.State(phone).SetUp)
	}
}

// A password may be changed because others know it: who shows the old one meanwhile is no
// friend whose guesses do not count.
func TestTheOldPasswordShownInAChangeMakesNobodyKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := operated(t)
		hash, waited := b.config.Hash, make(chan struct{})
		b.config.Hash = func(password []byte) string {
			go func() { // which works if it is the quicker
				_, _ = b.SignIn(t.Context(), other, good)
				close(waited)
			}()
			synctest.Wait() // until it waits for this one
			return hash(password)
		}
		if err := b.SetPassword(t.Context(), good+" staple"); err != nil {
			t.Fatal(err)
		}
		<-waited
		if b.mu.Lock(); b.delays.exempt(other) {
			t.Error("it is known")
		}
		b.mu.Unlock()
	})
}
