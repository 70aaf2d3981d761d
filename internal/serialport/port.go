package serialport

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tarm/serial"
	"golang.org/x/sys/unix"
)

// rawBuffer is how much is taken from the kernel at once. Its own buffer for a
// terminal holds 4,096 bytes.
const rawBuffer = 4096

// Port is an open serial port. One goroutine may read while another one writes;
// Close may be called at any time, by anyone, and ends both.
type Port struct {
	config  Config
	place   Place
	reader  *serial.Port // opens and reads
	control int          // everything else; see the package comment
	wake    int          // an eventfd that Close writes to
	ours    bool         // whether the lock is held: else nothing of the line may be touched

	use      sync.RWMutex // held for reading while the descriptors are in use
	closed   atomic.Bool
	released chan struct{} // closed once others may open the port

	read  sync.Mutex // the one reader's
	marks marks
	raw   [rawBuffer]byte
	begin int // raw[begin:end] was read, and was not returned yet
	end   int

	write sync.Mutex // the one writer's

	base      icount                 // of the driver when the port was opened
	origin    uint32                 // how many bytes it had received before the first that is read here
	last      atomic.Pointer[icount] // when it was last asked
	counts    bool                   // whether the driver counts at all
	received  atomic.Uint64
	sent      atomic.Uint64
	damaged   atomic.Uint64
	abandoned atomic.Uint64
}

// Place returns where the port was found: the device behind its name, and what
// device that is. Give the Identity to the Config that opens it again.
func (p *Port) Place() Place { return p.place }

// CharTime is how long one character is on the line.
func (p *Port) CharTime() time.Duration { return p.config.CharTime() }

// ReadTimeout reads what has arrived, at least one byte of it. When nothing
// arrives within d it returns 0 and no error; a negative d waits for as long as
// the port is open. It is as fine as the kernel's timers, far below a millisecond.
//
// With an error that is ErrDamaged the n bytes are there, and the last of them is
// the damaged one. ErrGone means that the device went away; what was read of it
// before was returned before, and what the kernel still held is lost with it.
// os.ErrClosed means that Close was called.
func (p *Port) ReadTimeout(buf []byte, d time.Duration) (n int, err error) {
	p.use.RLock()
	defer p.use.RUnlock()
	p.read.Lock()
	defer p.read.Unlock()
	if len(buf) == 0 {
		return 0, nil
	}
	deadline := time.Now().Add(d)
	for {
		if p.closed.Load() {
			return 0, os.ErrClosed
		}
		if n, err = p.take(buf); n > 0 || err != nil {
			return n, err
		}
		left := time.Until(deadline)
		if d >= 0 && left < 0 {
			left = 0
		} else if d < 0 {
			left = -1
		}
		ready, err := p.wait(unix.POLLIN, left)
		if err != nil {
			return 0, err
		}
		if ready == 0 {
			return 0, nil
		}
		if err := p.fill(ready); err != nil {
			return 0, err
		}
	}
}

// Pause waits for d while bytes gather in the kernel, or until Close. A line at
// full speed hands over a few bytes at a time, and waking up for each lump costs
// far more than reading it.
func (p *Port) Pause(d time.Duration) {
	p.use.RLock()
	defer p.use.RUnlock()
	if !p.closed.Load() {
		p.wait(0, d) // what ends it early, the next read will say
	}
}

// take returns bytes that were read from the kernel, without their marks.
func (p *Port) take(buf []byte) (int, error) {
	n, used, damaged := p.marks.undo(buf, p.raw[p.begin:p.end])
	p.begin += used
	p.received.Add(uint64(n))
	if damaged {
		p.damaged.Add(1)
		return n, ErrDamaged
	}
	return n, nil
}

// fill reads what poll has announced. A read of no bytes although poll announced
// some is how a terminal tells of its end; io.EOF is what tarm/serial calls it,
// and it would do so for ever. A flush in between looks alike, but does not say
// POLLHUP.
func (p *Port) fill(ready int16) error {
	p.begin, p.end = 0, 0
	n, err := p.reader.Read(p.raw[:])
	if n > 0 {
		p.end = n
		return nil
	}
	if ready&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 {
		return ErrGone
	}
	var errno unix.Errno
	if errors.As(err, &errno) && errno != unix.EINTR && errno != unix.EAGAIN {
		return fmt.Errorf("read: %w", gone(err))
	}
	return nil
}

// wait waits for an event on the control descriptor, for the end of the device,
// or for Close. It returns 0 when d has passed.
func (p *Port) wait(events int16, d time.Duration) (int16, error) {
	fds := [2]unix.PollFd{{Fd: int32(p.control), Events: events}, {Fd: int32(p.wake), Events: unix.POLLIN}}
	deadline := time.Now().Add(d)
	for {
		var timeout *unix.Timespec
		if d >= 0 {
			t := unix.NsecToTimespec(max(0, int64(time.Until(deadline))))
			timeout = &t
		}
		n, err := unix.Ppoll(fds[:], timeout, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, fmt.Errorf("poll: %w", err)
		case p.closed.Load():
			return 0, os.ErrClosed
		case n == 0:
			return 0, nil
		}
		return fds[0].Revents, nil
	}
}

// Write writes all of b. It never blocks for longer than the bytes need on the
// line, with those before them, and Config.WriteTimeout: then it takes back what
// was not sent yet, so that no half of a message comes out later, and returns
// ErrStuck. n bytes were sent.
//
// It writes to the control descriptor, which does not block. A write of
// tarm/serial would never end, and the goroutine in it neither.
func (p *Port) Write(b []byte) (n int, err error) {
	p.use.RLock()
	defer p.use.RUnlock()
	p.write.Lock()
	defer p.write.Unlock()
	deadline := time.Now().Add(p.lineTime(len(b)) + p.config.WriteTimeout)
	for n < len(b) {
		if p.closed.Load() {
			return n, os.ErrClosed
		}
		m, err := unix.Write(p.control, b[n:])
		if m > 0 {
			n += m
			p.sent.Add(uint64(m))
			continue
		}
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return n, fmt.Errorf("write: %w", gone(err))
		}
		ready, err := p.wait(unix.POLLOUT, max(0, time.Until(deadline)))
		switch {
		case err != nil:
			return n, err
		case ready&unix.POLLHUP != 0:
			return n, ErrGone
		case ready == 0:
			return p.abandon(n, len(b))
		}
	}
	return n, nil
}

// lineTime is how long n bytes need, after those that wait in the kernel.
func (p *Port) lineTime(n int) time.Duration {
	return time.Duration(n+p.queued()) * p.config.CharTime()
}

// queued returns how many bytes were written and are not sent yet.
func (p *Port) queued() int {
	n, err := unix.IoctlGetInt(p.control, unix.TIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// abandon takes back what the device does not take.
func (p *Port) abandon(n, of int) (int, error) {
	queued := min(n, p.queued())
	n -= queued
	p.sent.Add(-uint64(queued))
	p.abandoned.Add(uint64(of - n))
	unix.IoctlSetInt(p.control, unix.TCFLSH, unix.TCOFLUSH) // what fails here, fails in the next write
	return n, fmt.Errorf("%w: %d of %d bytes are left — hint: its flow control holds the line up, or nothing is connected; check CTS, or turn flow control off", ErrStuck, of-n, of)
}

// Drain waits until everything that was written is on the line, for as long as
// that takes and Config.WriteTimeout; then ErrStuck.
func (p *Port) Drain() error {
	p.use.RLock()
	defer p.use.RUnlock()
	deadline := time.Now().Add(p.lineTime(0) + p.config.WriteTimeout)
	for {
		n := p.queued()
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %d bytes are left", ErrStuck, n)
		}
		// No event tells that a queue is empty: look again when it may be.
		nap := min(max(time.Duration(n)*p.config.CharTime(), 200*time.Microsecond), 20*time.Millisecond)
		ready, err := p.wait(0, nap)
		if err != nil {
			return err
		}
		if ready != 0 {
			return ErrGone // no event was asked for: only POLLHUP and POLLERR come
		}
	}
	// The chip's own buffer is left, which the driver waits for; with an empty
	// queue it does not wait for ever.
	if err := unix.IoctlSetInt(p.control, unix.TCSBRK, 1); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("drain: %w", gone(err))
	}
	return nil
}

// Flush throws away what has arrived and was not read. It is for the goroutine
// that reads: it waits for a read that is under way.
func (p *Port) Flush() error {
	p.use.RLock()
	defer p.use.RUnlock()
	p.read.Lock()
	defer p.read.Unlock()
	if p.closed.Load() {
		return os.ErrClosed
	}
	p.begin, p.end, p.marks = 0, 0, marks{}
	if err := unix.IoctlSetInt(p.control, unix.TCFLSH, unix.TCIFLUSH); err != nil {
		return fmt.Errorf("flush: %w", gone(err))
	}
	if now, ok := readCounts(p.control); ok {
		p.origin = uint32(now.rx) - uint32(p.received.Load()) - (uint32(now.bufferedOverruns) - uint32(p.base.bufferedOverruns))
	}
	return nil
}

// SetRTS and SetDTR move a modem line.
func (p *Port) SetRTS(l Level) error { return p.setLine("RTS", unix.TIOCM_RTS, l) }

// SetDTR moves the DTR line, which resets many boards.
func (p *Port) SetDTR(l Level) error { return p.setLine("DTR", unix.TIOCM_DTR, l) }

func (p *Port) setLine(name string, bit int, l Level) error {
	p.use.RLock()
	defer p.use.RUnlock()
	if p.closed.Load() {
		return os.ErrClosed
	}
	return setLine(p.control, name, bit, l)
}

// Close ends what reads and writes, takes back what was not sent (Drain first,
// if it matters), and closes the port. It never waits for the device. When it
// returns, whoever closed it, the port may be opened again.
func (p *Port) Close() error {
	if p.closed.Swap(true) {
		<-p.released
		return os.ErrClosed
	}
	defer close(p.released)
	unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // an eventfd takes it always
	p.use.Lock()
	defer p.use.Unlock()
	return p.release()
}

// release gives everything back. The kernel would keep the close of a line that
// is held up waiting for up to 30 s, so the output is emptied before.
func (p *Port) release() error {
	if p.ours {
		if p.queued() > 0 {
			unix.IoctlSetInt(p.control, unix.TCFLSH, unix.TCOFLUSH)
		}
		unix.IoctlSetInt(p.control, unix.TIOCNXCL, 0) // it would outlive us while others have the device open
	}
	var err error
	if p.reader != nil {
		err = p.reader.Close()
	}
	if p.wake >= 0 {
		unix.Close(p.wake)
	}
	return errors.Join(err, unix.Close(p.control))
}
