package serialin

import (
	"context"
	"errors"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/internal/serialport"
)

// line is a port while it is open. It belongs to one goroutine.
type line struct {
	s       *Source
	port    *serialport.Port
	intake  *ingest.Intake
	backlog *backlog
	scanner *frame.Scanner
	polls   polls

	gather   time.Duration
	silence  bool      // whether the framing wants to know of it
	lastByte time.Time // when something arrived, and the framing was not told of a silence since
	heard    time.Time // when something arrived
	// lull is for how long nothing may arrive until half of an answer that was
	// given up is forgotten; zero if there is none.
	lull time.Duration

	written  uint64 // bytes given to the scanner
	consumed uint64 // bytes that it is done with
	damage   damage
	trust    trust
	doubt    bool                              // the next frame may have begun in a damaged one
	lost     func() (lost uint64, waiting int) // of the port
	overruns uint64
	past     frame.Stats // of this source's lines before
}

func newLine(s *Source, port *serialport.Port, intake *ingest.Intake, b *backlog) (*line, error) {
	scanner, err := frame.New(s.config.Framing)
	if err != nil {
		return nil, err
	}
	l := &line{s: s, port: port, intake: intake, backlog: b, scanner: scanner, lost: port.Lost}
	l.silence = s.config.looksForSilence()
	l.gather = s.config.gather()
	l.trust = trustOf(s.config.Framing)
	l.polls = newPolls(s.config.Polls, time.Now())
	if before := s.counts.scan.Load(); before != nil {
		l.past = *before
	}
	return l, nil
}

// readSize is how much is read at once: what the kernel keeps for a terminal.
const readSize = 4096

// read reads until the port breaks, or is closed, or ctx ends.
func (l *line) read(ctx context.Context) error {
	buf := make([]byte, readSize)
	for {
		if err := l.ask(); err != nil {
			return err
		}
		n, err := l.port.ReadTimeout(buf, l.patience())
		damaged := errors.Is(err, serialport.ErrDamaged)
		if err != nil && !damaged {
			l.end()
			return err
		}
		if n == 0 {
			err = l.silent(ctx)
		} else {
			l.s.taps.show(buf[:n], In, damaged)
			err = l.feed(ctx, buf[:n], damaged)
		}
		if err != nil {
			return err
		}
		l.giveUp(n == 0)
		if 0 < n && n < gatherBytes && !damaged && l.gather > 0 {
			l.port.Pause(l.gather)
		}
	}
}

// A frame in lumps of a few bytes would wake the door up for each: at 921,600 baud
// that were thousands of times a second. So after each read, bytes are given some
// time to gather: too little to be noticed, and too little to fill what the kernel
// has for them.
const (
	gatherTime  = 5 * time.Millisecond
	gatherBytes = 1024
)

// gather returns for how long. A silence that ends frames must not hide in it, nor
// seem shorter than it was.
func (c Config) gather() time.Duration {
	if c.looksForSilence() {
		return 0
	}
	return min(gatherTime, gatherBytes*c.Port.CharTime())
}

func (c Config) looksForSilence() bool { return c.Framing.DropHalf || c.Framing.Kind == frame.Gap }

// patience is how long nothing may arrive before there is something to do.
func (l *line) patience() time.Duration {
	d := time.Duration(-1)
	now := time.Now()
	if l.silence && !l.lastByte.IsZero() {
		d = max(0, l.s.config.Gap-now.Sub(l.lastByte))
	}
	if due, ok := l.polls.due(); ok {
		if left := max(0, due.Sub(now)); d < 0 || left < d {
			d = left
		}
	}
	return d
}

// silent tells the framing that nothing arrived.
func (l *line) silent(ctx context.Context) error {
	now := time.Now()
	if l.silence && !l.lastByte.IsZero() && now.Sub(l.lastByte) >= l.s.config.Gap {
		l.lastByte = time.Time{}
		l.scanner.Idle()
		if err := l.take(ctx); err != nil {
			return err
		}
		l.damage.forget(forever) // what was lost was lost before
		l.doubt = false
	}
	return nil
}

// giveUp stops waiting for an answer that is late. Half an answer is none, and
// must not begin the next one; but a device that speaks all the time may be in the
// middle of something else. So it is forgotten when nothing arrives for half of the
// time that an answer has: at once, or before the next poll, which is not asked for
// that time.
func (l *line) giveUp(quiet bool) {
	now := time.Now()
	if l.polls.giveUp(now) {
		l.s.counts.timeouts.Add(1)
		l.lull = l.polls.list[l.polls.missed].Timeout / 2
	}
	if l.lull > 0 && quiet && now.Sub(l.heard) >= l.lull {
		l.lull = 0
		l.reset()
	}
}

// feed gives bytes to the framing, and frames to the backlog. If damaged, the
// last byte is.
func (l *line) feed(ctx context.Context, p []byte, damaged bool) error {
	now := time.Now()
	if l.trust.gaps && !l.lastByte.IsZero() && now.Sub(l.lastByte) >= l.s.config.Gap {
		l.damage.add(l.consumed, forever) // nobody could look: there may have been a silence
	}
	l.lastByte, l.heard = now, now
	l.lookForLoss(len(p))
	whole := p
	if damaged {
		whole = p[:len(p)-1]
	}
	if len(whole) > 0 {
		l.write1(whole)
		if err := l.take(ctx); err != nil {
			return err
		}
	}
	if !damaged {
		return nil
	}
	l.damage.add(l.written, l.trust.end(l.written+1, l.trust.lengths))
	l.write1(p[len(p)-1:])
	if err := l.take(ctx); err != nil {
		return err
	}
	// It ended a frame, which it was perhaps in the middle of: then the rest
	// must not pass for a frame. A checksum would know.
	if l.consumed == l.written && l.trust.cutsAnywhere {
		l.damage.add(l.written, l.written+1)
	}
	return nil
}

func (l *line) write1(p []byte) {
	l.scanner.Write(p)
	l.written += uint64(len(p))
}

// lookForLoss asks the driver whether it has lost bytes, somewhere among those
// that were not cut yet, are read now, or wait in the kernel. Nothing in the
// stream tells of it: "21.5" without its point would be a reading. A checksum
// knows better, so it is left to it.
func (l *line) lookForLoss(n int) {
	if l.trust.sums {
		return
	}
	lost, waiting := l.lost()
	if lost != l.overruns {
		l.overruns = lost
		l.damage.add(l.consumed, l.trust.end(l.written+uint64(n+waiting)+1, true))
	}
}

// take takes what frames there are.
func (l *line) take(ctx context.Context) error {
	garbage := l.scanner.Stats().Garbage
	var err error
	for err == nil {
		f, ok := l.scanner.Next()
		end := l.written - uint64(l.scanner.Buffered())
		thrown := l.scanner.Stats().Garbage
		start := l.consumed
		if !l.trust.starts {
			start += thrown - garbage
		}
		l.consumed, garbage = end, thrown
		if !ok {
			l.doubt = l.doubt || l.trust.starts && l.damage.hits(start, end)
			break
		}
		if hit := l.damage.hits(start, end); hit || l.doubt {
			l.doubt = hit && l.trust.lengths
			l.s.counts.damaged.Add(1)
			continue
		}
		err = l.deliver(ctx, f)
	}
	l.damage.forget(l.consumed)
	l.count()
	return err
}

// deliver puts a frame into the backlog, unless nobody wants it.
func (l *line) deliver(ctx context.Context, f []byte) error {
	if l.s.echoes != nil && l.s.echoes.hear(f) {
		return nil
	}
	poll, is := l.polls.answers(f)
	switch {
	case is == echo:
		return nil
	case is == late:
		l.lull = 0 // it is whole: what arrives from now on is something else
		l.s.trouble(errLate)
		fallthrough
	case poll < 0 && l.s.config.Target == nil:
		l.s.counts.unasked.Add(1)
		return nil
	}
	now := l.intake.Now()
	l.s.counts.frames.Add(1)
	l.s.counts.lastFrame.Store(now)
	return l.backlog.put(ctx, f, arrival{poll: poll, at: now, port: l.port})
}

var errLate = errors.New("the answer to a poll came late, and was not taken — hint: raise its timeout")

// ask sends a request that is due.
func (l *line) ask() error {
	request := l.polls.next(time.Now())
	if request == nil {
		return nil
	}
	l.s.counts.polls.Add(1)
	l.lull = 0 // what arrives from now on is not forgotten
	if err := l.write(request); err != nil {
		return err
	}
	l.polls.sent(time.Now().Add(time.Duration(len(request)) * l.port.CharTime()))
	return nil
}

// write writes to the device. One that does not take it is no reason to stop
// reading it: it may only have been talked to.
func (l *line) write(b []byte) error {
	n, err := l.port.Write(b)
	l.s.taps.show(b[:n], Out, false)
	if errors.Is(err, serialport.ErrStuck) {
		l.s.trouble(err)
		return nil
	}
	return err
}

// reset forgets a frame that has begun.
func (l *line) reset() {
	l.scanner.Reset()
	l.consumed, l.lastByte = l.written, time.Time{}
	l.damage.forget(forever)
	l.doubt = false
	l.count()
}

// end counts the frame that was cut off with the line.
func (l *line) end() { l.reset() }

func (l *line) count() {
	now := plus(l.past, l.scanner.Stats())
	l.s.counts.scan.Store(&now)
}

func plus(a, b frame.Stats) frame.Stats {
	return frame.Stats{
		Frames: a.Frames + b.Frames, BadChecksum: a.BadChecksum + b.BadChecksum, Broken: a.Broken + b.Broken,
		TooLong: a.TooLong + b.TooLong, Partial: a.Partial + b.Partial, Garbage: a.Garbage + b.Garbage,
	}
}
