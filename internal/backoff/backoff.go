// Package backoff paces retries: exponential backoff with full jitter, and a
// sleep that ends early.
//
// Full jitter is the formula of Marc Brooker's "Exponential Backoff And
// Jitter" (AWS Architecture Blog, 2015):
//
//	delay = random between 0 and min(Max, Min × 2^attempt)
//
// A thousand gateways that lost the same cloud at the same instant come back
// spread over the whole interval instead of in waves.
//
//	b := backoff.Backoff{Min: time.Second, Max: 5 * time.Minute}
//	for {
//		if err := dial(ctx); err == nil {
//			b.Reset()
//			...
//		}
//		if err := backoff.Sleep(ctx, b.Next(), linkUp); err != nil {
//			return err
//		}
//	}
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff yields the delays between the attempts of one retried thing. It
// belongs to one goroutine. The zero value never waits.
type Backoff struct {
	// Min bounds the first delay from above; the bound doubles with every
	// attempt that follows.
	Min time.Duration
	// Max is where the bound stops growing.
	Max time.Duration
	// Random returns a number in [0, n), n > 0. Nil stands for math/rand/v2;
	// a simulation passes its own seeded source.
	Random func(n int64) int64

	// bound is the bound of the latest delay; 0 before the first.
	bound time.Duration
}

// Next returns how long to wait before the next attempt: at least 0, less than
// the present bound.
func (b *Backoff) Next() time.Duration {
	b.bound = b.grow()
	if b.bound <= 0 {
		return 0
	}
	random := b.Random
	if random == nil {
		random = rand.Int64N
	}
	return time.Duration(random(int64(b.bound)))
}

// grow returns the next bound. It halves Max instead of doubling the bound, so
// that it cannot overflow.
func (b *Backoff) grow() time.Duration {
	switch {
	case b.bound <= 0:
		return min(b.Min, b.Max)
	case b.bound > b.Max/2:
		return b.Max
	}
	return 2 * b.bound
}

// Reset starts again from Min. Call it when an attempt has succeeded.
func (b *Backoff) Reset() { b.bound = 0 }

// Sleep waits for d, or until wake receives or is closed, whichever comes
// first, and returns nil. It returns the cause of ctx as soon as ctx ends. A
// nil wake never fires.
func Sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	case <-wake:
		return nil
	}
}
