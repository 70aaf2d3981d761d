// Package leaktest looks for goroutines that outlive what they were begun for. It waits
// for them as long as tests wait for anything: [goleak] alone gives them a second, in
// which a busy machine may not get to any of them.
package leaktest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const patience = time.Minute

// Main runs the tests of a package. They fail when a goroutine is left at their end.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// None fails the test if there are goroutines beside those of before, which is
// [goleak.IgnoreCurrent] as a rule.
func None(t testing.TB, before ...goleak.Option) {
	t.Helper()
	if err := find(before...); err != nil {
		t.Error(err)
	}
}

func find(before ...goleak.Option) error {
	for late := time.Now().Add(patience); ; {
		err := goleak.Find(before...) // waits for about a second itself
		if err == nil || time.Now().After(late) {
			return err
		}
	}
}
