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
	_                                                [4]int32 // cts, dsr, rng, dcd
	rx, _                                            int32    // and tx
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
	p.use.RLock()
	defer p.use.RUnlock()
	return p.countersNow()
}

func (p *Port) countersNow() Counters {
	c := Counters{
		Received:  p.received.Load(),
		Sent:      p.sent.Load(),
		Damaged:   p.damaged.Load(),
		Abandoned: p.abandoned.Load(),
	}
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

// Plus returns the sums, for a device that was opened more than once.
func (c Counters) Plus(o Counters) Counters {
	return Counters{
		Received: c.Received + o.Received, Sent: c.Sent + o.Sent, Damaged: c.Damaged + o.Damaged, Abandoned: c.Abandoned + o.Abandoned,
		Counted: c.Counted || o.Counted,
		Frame:   c.Frame + o.Frame, Parity: c.Parity + o.Parity, Break: c.Break + o.Break,
		Overrun: c.Overrun + o.Overrun, Overflow: c.Overflow + o.Overflow,
	}
}

// Lost returns how many bytes the driver says to have lost so far, and how many
// were not read yet: a loss that is news lies before the end of those. Drivers
// that do not count have lost 0. It is for the goroutine that reads.
//
// Bytes wait in two queues. TIOCINQ tells of the second, of 4 KiB; those in the
// first are the difference between what the driver has received and what was read,
// where it counts that. With XON/XOFF that difference would grow for ever.
func (p *Port) Lost() (lost uint64, waiting int) {
	p.use.RLock()
	defer p.use.RUnlock()
	if !p.counts || p.closed.Load() {
		return 0, 0
	}
	c := p.countersNow()
	waiting = p.end - p.begin + p.inQueue()
	if !p.config.XONXOFF {
		waiting = max(waiting, behind(*p.last.Load(), p.origin, p.base, p.received.Load()))
	}
	return c.Overrun + c.Overflow, waiting
}

func (p *Port) inQueue() int {
	n, err := unix.IoctlGetInt(p.control, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return max(n, 0)
}

// mostBehind is more than a driver's queue holds.
const mostBehind = 1 << 20

// behind returns how many of the bytes that a driver has received are still to
// come. It had received origin when the first of them was about to be read.
func behind(now icount, origin uint32, base icount, received uint64) int {
	if now.rx == base.rx {
		return 0 // nothing came, or it does not count that
	}
	dropped := uint32(now.bufferedOverruns) - uint32(base.bufferedOverruns) // after they were received
	n := int32(uint32(now.rx) - origin - dropped - uint32(received))
	return min(max(int(n), 0), mostBehind)
}
