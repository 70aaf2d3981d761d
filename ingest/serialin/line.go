package serialin

import (
	"bytes"
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

	written  uint64 // bytes given to the scanner
	consumed uint64 // bytes that it is done with
	damage   damage
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
	l.silence = s.config.Framing.DropHalf || s.config.Framing.Kind == frame.Gap
	l.gather = s.config.gather()
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

// gather returns for how long. A silence that ends frames must not hide in it.
func (c Config) gather() time.Duration {
	if c.Gap < 4*gatherTime {
		return 0
	}
	return min(gatherTime, gatherBytes*c.Port.CharTime())
}

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
	}
	return nil
}

// giveUp stops waiting for an answer that is late. Half an answer is none, and
// must not begin the next one; but a device that speaks all the time may be in the
// middle of something else.
func (l *line) giveUp(quiet bool) {
	if !l.polls.late(time.Now()) {
		return
	}
	l.s.counts.timeouts.Add(1)
	if quiet {
		l.reset()
	}
}

// feed gives bytes to the framing, and frames to the backlog. If damaged, the
// last byte is.
func (l *line) feed(ctx context.Context, p []byte, damaged bool) error {
	l.lastByte = time.Now()
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
	l.damage.add(l.written, l.written+1)
	l.write1(p[len(p)-1:])
	if err := l.take(ctx); err != nil {
		return err
	}
	// It ended a frame, which it was perhaps in the middle of: then the rest
	// must not pass for a frame. A checksum would know.
	if l.consumed == l.written && cutsAnywhere(l.s.config.Framing) {
		l.damage.add(l.written, l.written+1)
	}
	return nil
}

func (l *line) write1(p []byte) {
	l.scanner.Write(p)
	l.written += uint64(len(p))
}

// cutsAnywhere says whether one wrong byte can make two frames out of one.
func cutsAnywhere(c frame.Config) bool {
	switch c.Kind {
	case frame.Line, frame.SLIP, frame.HDLC, frame.COBS:
		return c.Checksum == frame.None
	}
	return false
}

// lookForLoss asks the driver whether it has lost bytes, somewhere among those
// that were not cut yet, are read now, or wait in the kernel. Nothing in the
// stream tells of it: "21.5" without its point would be a reading. A checksum
// knows better, so it is left to it.
func (l *line) lookForLoss(n int) {
	if l.s.config.Framing.Checksum != frame.None {
		return
	}
	lost, waiting := l.lost()
	if lost != l.overruns {
		l.overruns = lost
		l.damage.add(l.consumed, l.written+uint64(n+waiting)+1)
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
		start := l.consumed + (thrown - garbage)
		l.consumed, garbage = end, thrown
		if !ok {
			break
		}
		if l.damage.hits(start, end) {
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
	poll, echo := l.polls.answers(f)
	switch {
	case echo:
		return nil
	case poll < 0 && l.s.config.Target == nil:
		l.s.counts.unasked.Add(1)
		return nil
	}
	now := l.intake.Now()
	l.s.counts.frames.Add(1)
	l.s.counts.lastFrame.Store(now)
	return l.backlog.put(ctx, f, poll, now)
}

// ask sends a request that is due.
func (l *line) ask() error {
	request := l.polls.next(time.Now())
	if request == nil {
		return nil
	}
	l.s.counts.polls.Add(1)
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
	l.damage.forget(l.consumed)
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

// damage knows which bytes of the stream are not to be trusted.
type damage struct {
	spans []span
}

type span struct{ from, to uint64 }

// maxSpans bounds what is kept. Beyond it, everything from the last span on is
// not trusted: a line like that has the wrong speed.
const maxSpans = 32

func (d *damage) add(from, to uint64) {
	if n := len(d.spans); n > 0 && (from <= d.spans[n-1].to || n == maxSpans) {
		d.spans[n-1].to = max(d.spans[n-1].to, to)
		return
	}
	d.spans = append(d.spans, span{from, to})
}

func (d *damage) hits(from, to uint64) bool {
	for _, s := range d.spans {
		if s.from < to && from < s.to {
			return true
		}
	}
	return false
}

// forget drops what lies before a place.
func (d *damage) forget(before uint64) {
	kept := d.spans[:0]
	for _, s := range d.spans {
		if s.to > before {
			kept = append(kept, s)
		}
	}
	d.spans = kept
}

// isEcho says whether a frame is the request itself, heard on a line that two
// wires are shared on.
func isEcho(request, f []byte) bool {
	return 2*len(f) >= len(request) && bytes.Contains(request, f)
}
