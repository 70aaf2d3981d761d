package firmwaresim

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	bitsPerByte = 10 // start, eight of data, stop
	maxBaud     = 921_600
	// lump is how long bytes may take that are written at once: a USB adapter
	// hands them over in lumps, too.
	lump = 4 * time.Millisecond
	// atOnce is the longest time between frames that follow each other.
	atOnce = time.Millisecond
	// maxStuck is how long a terminal may be full. A wire does not wait.
	maxStuck = 100 * time.Millisecond
)

// baudWriter writes to a terminal no faster than a line of that speed would.
type baudWriter struct {
	to   *pty
	baud int
	free time.Time // when the line has sent what was written
	// ended is when the last write returned.
	ended time.Time
	wire  *wireCounts
}

// wireCounts counts the bytes of a line.
type wireCounts struct{ out, unheard, overrun atomic.Uint64 }

// write writes b and returns when the line has sent it. Bytes that nobody listens
// to and bytes that find no room are lost, and counted, as on a wire. Between
// lumps it sleeps, so that whoever owns the line can end a frame in its middle:
// an error of sleep ends the write.
func (w *baudWriter) write(b []byte, sleep func(until time.Time) error) error {
	// Timers are late. Frames that follow each other at once catch up on that,
	// so that a busy line is as fast as its speed says.
	if now := time.Now(); w.free.Before(now) && (now.Sub(w.ended) > atOnce || now.Sub(w.free) > maxLate) {
		w.free = now
	}
	defer func() { w.ended = time.Now() }()
	most := max(1, int(lump*time.Duration(w.baud)/(bitsPerByte*time.Second)))
	for len(b) > 0 {
		n := min(len(b), most)
		if err := w.lump(b[:n]); err != nil {
			return err
		}
		b = b[n:]
		w.free = w.free.Add(time.Duration(n) * bitsPerByte * time.Second / time.Duration(w.baud))
		if err := sleep(w.free); err != nil {
			return err
		}
	}
	return nil
}

func (w *baudWriter) lump(b []byte) error {
	if !w.to.heard() {
		w.wire.unheard.Add(uint64(len(b)))
		return nil
	}
	w.to.SetWriteDeadline(time.Now().Add(maxStuck))
	n, err := w.to.Write(b)
	w.wire.out.Add(uint64(n))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.wire.overrun.Add(uint64(len(b) - n))
		return nil
	case errors.Is(err, syscall.EIO): // closed in this moment
		w.wire.unheard.Add(uint64(len(b) - n))
		return nil
	}
	return err
}

// listenEvery is how often a terminal that nobody has open is looked at.
const listenEvery = 20 * time.Millisecond

// readPty hands over what comes from a terminal until it is closed or ctx ends.
func readPty(ctx context.Context, from *pty, take func([]byte) error) error {
	buffer := make([]byte, 512)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if err := take(buffer[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case !errors.Is(err, syscall.EIO):
			return err
		default: // nobody has it open
			if err := sleepUntil(ctx, time.Now().Add(listenEvery)); err != nil {
				return err
			}
		}
	}
}

func sleepUntil(ctx context.Context, until time.Time) error {
	wait := time.Until(until)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
