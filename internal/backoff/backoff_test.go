package backoff

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// ceiling is a random source that always draws the largest number: the delays
// become the bounds.
func ceiling(n int64) int64 { return n - 1 }

func TestBoundDoublesUpToMax(t *testing.T) {
	b := Backoff{Min: time.Second, Max: 10 * time.Second, Random: ceiling}
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		if got := b.Next(); got != want*time.Second-1 {
			t.Errorf("delay %d: %v, want just below %v", i, got, want*time.Second)
		}
	}
}

func TestResetStartsAgainFromMin(t *testing.T) {
	b := Backoff{Min: time.Second, Max: time.Hour, Random: ceiling}
	for range 5 {
		b.Next()
	}
	b.Reset()
	if got := b.Next(); got >= time.Second {
		t.Errorf("the first delay after Reset is %v, want less than Min", got)
	}
}

func TestDelaysSpreadOverTheWholeInterval(t *testing.T) {
	b := Backoff{Min: time.Minute, Max: time.Minute}
	var quarters [4]int
	for range 4000 {
		d := b.Next()
		if d < 0 || d >= time.Minute {
			t.Fatalf("delay %v is outside [0, 1m)", d)
		}
		quarters[d/(15*time.Second)]++
	}
	for i, n := range quarters {
		if n < 800 || n > 1200 {
			t.Errorf("quarter %d holds %d of 4000 delays, want about 1000", i, n)
		}
	}
}

func TestExtremesNeverOverflow(t *testing.T) {
	for _, b := range []Backoff{
		{},
		{Min: time.Second},
		{Min: -1, Max: -1},
		{Min: time.Minute, Max: time.Second},
		{Min: 1, Max: math.MaxInt64},
		{Min: math.MaxInt64, Max: math.MaxInt64},
	} {
		for range 100 {
			if d := b.Next(); d < 0 || d > max(b.Max, 0) {
				t.Fatalf("%+v: delay %v", b, d)
			}
		}
	}
}

func TestSleepLastsAsLongAsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := Sleep(t.Context(), 5*time.Minute, nil); err != nil {
			t.Fatal(err)
		}
		if slept := time.Since(start); slept != 5*time.Minute {
			t.Errorf("slept %v", slept)
		}
	})
}

func TestSleepEndsEarlyWhenTheLinkComesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{}, 1)
		time.AfterFunc(time.Second, func() { wake <- struct{}{} })
		start := time.Now()
		if err := Sleep(t.Context(), time.Hour, wake); err != nil {
			t.Fatal(err)
		}
		if slept := time.Since(start); slept != time.Second {
			t.Errorf("slept %v, want 1s", slept)
		}
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("stopping")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(stop) })
		start := time.Now()
		if err := Sleep(ctx, time.Hour, nil); !errors.Is(err, stop) {
			t.Errorf("Sleep returned %v, want the cause", err)
		}
		if slept := time.Since(start); slept != time.Second {
			t.Errorf("slept %v, want 1s", slept)
		}
	})
}

// A retry loop whose context has ended must not take one more turn because
// its delay happened to be 0.
func TestSleepOfNothingStillObeysItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wake := make(chan struct{})
	close(wake)
	for range 100 {
		if err := Sleep(ctx, 0, wake); !errors.Is(err, context.Canceled) {
			t.Fatalf("Sleep returned %v", err)
		}
	}
}
