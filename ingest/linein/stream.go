package linein

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/backoff"
)

// stream is a TCP connection that is read.
type stream struct {
	*door
	conn    net.Conn
	target  route.Target
	scanner *frame.Scanner
	told    frame.Stats // counted already
	settler *settler
	pace    pace
	watch   watch

	small []byte
	large []byte // borrowed; nil for none

	last     time.Time // when something was read
	half     time.Time // since when a frame is under way; zero for none
	deadline time.Time // of the connection
}

func newStream(d *door, conn net.Conn) *stream {
	scanner, _ := frame.New(d.cfg.Framing) // checked by New
	c := &stream{
		door: d, conn: conn, target: d.target(hostOf(conn.RemoteAddr())), scanner: scanner,
		pace: pace{rate: float64(d.cfg.MaxRate)}, small: make([]byte, smallRead), last: time.Now(),
	}
	raw := conn
	if secure, ok := conn.(*tls.Conn); ok {
		raw = secure.NetConn() // which closes without saying goodbye
	}
	if d.cfg.Framing.Kind == frame.Gap && d.cfg.Framing.Checksum == frame.None {
		c.watch = newWatch(d.cfg.Silence, c.target)
	}
	c.settler = newSettler(d, c.answer, func() { raw.Close() })
	return c
}

// What ends a connection from this side.
var (
	errIdle = errors.New("nothing came for too long — hint: raise idle_timeout, or look why the device is silent")
	errSlow = errors.New("a frame took too long — hint: does the framing fit what the device sends?")
	errLost = errors.New("where frames begin is not known any more — hint: does the framing fit what the device sends? With a checksum or sync bytes it would find them again")
)

// run reads until the connection ends. Each read is a batch.
func (c *stream) run(ctx context.Context) error {
	defer c.settler.wait() // a peer that says no more may still wait for replies
	defer c.finish()
	defer c.putLarge()
	for {
		b := c.buffer()
		n, err := c.read(ctx, b)
		if n > 0 {
			c.last = time.Now()
			c.watch.heard(c.scanner.Buffered() > 0)
			c.borrow(n >= smallRead)
			if err := c.take(ctx, b[:n]); err != nil {
				return err
			}
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = c.late(ctx)
		} else if errors.Is(err, io.EOF) && c.silent() { // silence is what follows, too
			err = errors.Join(err, c.fallSilent(ctx))
		}
		if err != nil {
			return err
		}
	}
}

// buffer returns what to read into.
func (c *stream) buffer() []byte {
	if c.large != nil {
		return c.large
	}
	return c.small
}

// borrow takes a large buffer for the next read if there is much to say, and
// gives it back otherwise.
func (c *stream) borrow(much bool) {
	if !much {
		c.putLarge()
		return
	}
	if c.large != nil {
		return
	}
	select {
	case b := <-c.door.large:
		if b == nil {
			b = make([]byte, largeRead)
		}
		c.large = b
	default: // others have them; small ones do, too
	}
}

func (c *stream) putLarge() {
	if c.large != nil {
		c.door.large <- c.large
		c.large = nil
	}
}

// silent reports whether silence means something now.
func (c *stream) silent() bool {
	f := &c.cfg.Framing
	return (f.Kind == frame.Gap || f.DropHalf) && c.scanner.Buffered() > 0
}

// wanted is when the next bytes must have come.
func (c *stream) wanted() time.Time {
	switch {
	case c.large != nil && c.silent():
		return c.last.Add(min(probe, c.cfg.Silence))
	case c.large != nil: // is not held while nothing comes
		return c.last.Add(probe)
	case c.silent():
		return c.last.Add(c.cfg.Silence)
	}
	until := c.last.Add(c.cfg.IdleTimeout)
	if frame := c.half.Add(c.cfg.FrameTimeout); !c.half.IsZero() && frame.Before(until) {
		until = frame
	}
	return until
}

const (
	// probe is how long a large buffer waits for bytes.
	probe = 10 * time.Millisecond
	// rearm is how late the deadline of a connection is moved on: moving it costs
	// as much as a small read.
	rearm = time.Second
)

func (c *stream) read(ctx context.Context, b []byte) (int, error) {
	if want := c.wanted(); want.Before(c.deadline) || want.Sub(c.deadline) > rearm {
		c.deadline = want
		if err := c.conn.SetReadDeadline(want); err != nil {
			return 0, err
		}
		if ctx.Err() != nil { // this may have come after the deadline of part
			return 0, ctx.Err()
		}
	}
	return c.watch.read(c.conn, b)
}

// late is for a deadline that has passed. It may have been an earlier one than
// is wanted by now.
func (c *stream) late(ctx context.Context) error {
	now, want := time.Now(), c.wanted()
	switch {
	case now.Before(want):
		c.deadline = time.Time{}
	case c.large != nil:
		c.putLarge()
	case c.silent() && now.Sub(want) > probe:
		c.watch.missed()
		c.last = now // what has come meanwhile comes first
	case c.silent():
		return c.fallSilent(ctx)
	case !c.half.IsZero() && !now.Before(c.half.Add(c.cfg.FrameTimeout)):
		c.stats.slow.Add(1)
		return errSlow
	default:
		c.stats.slow.Add(1)
		return errIdle
	}
	return nil
}

// fallSilent tells the scanner, and takes what it makes of that.
func (c *stream) fallSilent(ctx context.Context) error {
	c.scanner.Idle()
	err := c.take(ctx, nil)
	c.watch.fellSilent()
	return err
}

// take takes what was read into custody, and replies.
func (c *stream) take(ctx context.Context, b []byte) error {
	c.scanner.Write(b)
	before := c.told.Frames
	for more := true; more; {
		var err error
		if more, err = c.takeSome(ctx, len(b)); err != nil {
			return err
		}
	}
	c.stats.tally(&c.told, c.scanner.Stats())
	return c.await(ctx, int(c.told.Frames-before))
}

// takeSome takes a batch of what was read, n bytes in all, and says whether there
// may be more. The room that the others wait for is not held while this peer is
// waited for, which may be as long as he likes.
func (c *stream) takeSome(ctx context.Context, n int) (more bool, err error) {
	if err := c.settler.settled(); err != nil {
		return false, err
	}
	if err := c.room.take(ctx, n); err != nil {
		return false, err
	}
	defer c.room.give(n)
	all := c.newBatch()
	more, lost := true, false
	for more && !all.isFull() {
		payload, ok := c.scanner.Next()
		if lost = c.lost(); lost || !ok {
			more = false
			break
		}
		c.door.decode(all, c.watch.target(&c.target), payload)
	}
	if err := c.settler.deliver(ctx, all, nil); err != nil {
		return false, err
	}
	if lost {
		c.stats.lost.Add(1)
		return false, errLost
	}
	return more, nil
}

// await notes what is under way, and waits if this peer sends too fast. The time
// that custody took, and this wait, are not the peer's.
func (c *stream) await(ctx context.Context, frames int) error {
	now := time.Now()
	c.excuse(now.Sub(c.last))
	c.last = now
	switch {
	case c.scanner.Buffered() == 0:
		c.half = time.Time{}
	case frames > 0 || c.half.IsZero():
		c.half = c.last
	case c.last.Sub(c.half) > c.cfg.FrameTimeout:
		c.stats.slow.Add(1)
		return errSlow
	}
	if c.cfg.MaxRate == 0 {
		return nil
	}
	wait := c.pace.add(frames, c.last)
	if wait <= 0 {
		return nil
	}
	c.stats.slowed.Add(1)
	c.putLarge() // others may have it meanwhile
	err := backoff.Sleep(ctx, wait, nil)
	c.excuse(wait)
	c.last = time.Now()
	return err
}

// excuse does not count a time against the frame that is under way.
func (c *stream) excuse(wait time.Duration) {
	if !c.half.IsZero() {
		c.half = c.half.Add(wait)
	}
}

// lost reports whether the frames that follow may be none.
func (c *stream) lost() bool {
	s := c.scanner.Stats()
	if s.Garbage == 0 || c.cfg.Framing.Resyncs() {
		return false
	}
	return s.Broken > 0 || s.TooLong > 0 && c.cfg.Framing.Kind != frame.Octets
}

// answer replies to frames. A peer that does not read its replies is not waited
// for.
func (c *stream) answer(p *pending) error {
	err := c.conn.SetWriteDeadline(time.Now().Add(c.cfg.WriteTimeout))
	for frames := p.frames; frames > 0 && err == nil; frames -= repliesAtOnce {
		_, err = c.conn.Write(c.replies[:min(frames, repliesAtOnce)*len(c.cfg.Reply)])
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.stats.slow.Add(1)
	}
	return err
}

// finish counts the frame that the end has cut off. It is not taken for a whole
// one: "temp=21" may be the first half of "temp=21.5".
func (c *stream) finish() {
	c.scanner.Reset()
	c.stats.tally(&c.told, c.scanner.Stats())
}
