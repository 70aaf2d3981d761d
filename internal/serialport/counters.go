package serialport

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Counters are what happened to the bytes of a port since it was opened.
type Counters struct {
	// Received and Sent bytes.
	Received, Sent uint64
	// Damaged bytes were marked by the driver: a wrong parity bit, a missing
	// stop bit, or a break.
	Damaged uint64
	// Abandoned bytes were not taken by the device in time.
	Abandoned uint64
	// Counted says whether the driver counts the following by their kind. When
	// it does not, they are 0 and Damaged is all that is known.
	Counted bool
	// Frame errors are missing stop bits: the speed or the wiring is wrong.
	// Parity errors are wrong parity bits. Breaks are lines held low.
	Frame, Parity, Break uint64
	// Overrun bytes came faster than the chip was read, Overflow bytes faster
	// than the kernel's buffer was: both are lost.
	Overrun, Overflow uint64
}

// icount is struct serial_icounter_struct of linux/serial.h.
type icount struct {
	_                                                [6]int32 // cts, dsr, rng, dcd, rx, tx
	frame, overrun, parity, breaks, bufferedOverruns int32
	_                                                [9]int32
}

func readCounts(fd int) (icount, bool) {
	var c icount
	err := ioctl(fd, unix.TIOCGICOUNT, unsafe.Pointer(&c))
	return c, err == nil
}

// Counters returns the counts so far. They stay readable after Close.
func (p *Port) Counters() Counters {
	c := Counters{
		Received:  p.received.Load(),
		Sent:      p.sent.Load(),
		Damaged:   p.damaged.Load(),
		Abandoned: p.abandoned.Load(),
	}
	p.use.RLock()
	defer p.use.RUnlock()
	if !p.counts {
		return c
	}
	if !p.closed.Load() {
		if now, ok := readCounts(p.control); ok {
			p.last.Store(&now)
		}
	}
	c.fill(p.base, *p.last.Load())
	return c
}

// fill takes differences: the driver counts from its own start, in 32 bits.
func (c *Counters) fill(base, now icount) {
	since := func(base, now int32) uint64 { return uint64(uint32(now) - uint32(base)) }
	c.Counted = true
	c.Frame = since(base.frame, now.frame)
	c.Parity = since(base.parity, now.parity)
	c.Break = since(base.breaks, now.breaks)
	c.Overrun = since(base.overrun, now.overrun)
	c.Overflow = since(base.bufferedOverruns, now.bufferedOverruns)
}
