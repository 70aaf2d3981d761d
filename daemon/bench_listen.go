package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/serialin"
	"github.com/tidegate/tidegate/internal/serialport"
)

// tellEvery is how often it is told what was heard, and tellQuiet how often it is
// told that nothing was.
const (
	tellEvery = 100 * time.Millisecond
	tellQuiet = time.Second
)

// Listen implements api.SerialWork. A line that a door reads is looked at through the
// door; any other port is opened, and closed again.
func (w *workbench) Listen(ctx context.Context, ask api.SerialListen, tell func(api.SerialHeard) error) error {
	at, err := w.find(ask.SerialPlace, ask.SerialSettings)
	if err != nil {
		return err
	}
	if line := w.here.line(at.info.Door); line != nil && !ask.Pause {
		if ask.SerialSettings != (api.SerialSettings{}) {
			return api.Invalid(fmt.Errorf("%s reads this port with settings of its own — hint: leave baud and format out, or let the door pause", at.info.Door))
		}
		return w.listenThrough(ctx, at, line, tell)
	}
	f := Framing{}
	f.SetDefaults()
	f.Kind, f.Checksum = cmp.Or(ask.Framing, f.Kind), cmp.Or(ask.Checksum, f.Checksum)
	scanner, err := f.scanner()
	if err != nil {
		return api.Invalid(err)
	}
	ctx, task, done, err := w.alone(ctx, at, "listening", ask.SerialPlace)
	if err != nil {
		return err
	}
	defer done()
	port, err := serialport.Open(at.config)
	if err != nil {
		return ending(ctx, err)
	}
	defer port.Close()
	o := &overhearing{port: port, scanner: scanner}
	w.mu.Lock()
	task.write = o.write
	w.mu.Unlock()
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { port.Close() })
	defer stop()
	go func() { ended <- readPieces(port, newPiece, o.show, o.silent) }()
	err = (&o.hearing).tell(ctx, o.counts, ended, api.SerialHeard{Settings: at.config.String()}, tell)
	port.Close()
	w.remember(at.info, func(f *portFile) {
		f.listened = &api.SerialReportListen{At: stamp(), Settings: at.config.String(), Counts: o.counts()}
	})
	return ending(ctx, err)
}

// scanner cuts frames as the framing says, and refuses words that are none.
func (f Framing) scanner() (*frame.Scanner, error) {
	if _, ok := frame.ParseKind(f.Kind); !ok {
		return nil, fmt.Errorf("%q is no framing — hint: %v", f.Kind, frame.Kinds())
	}
	if _, ok := frame.ParseChecksum(f.Checksum); !ok {
		return nil, fmt.Errorf("%q is no checksum — hint: %v", f.Checksum, frame.Checksums())
	}
	return frame.New(f.build())
}

// listenThrough looks at a line while a door reads it.
func (w *workbench) listenThrough(ctx context.Context, at workplace, line *serialin.Source, tell func(api.SerialHeard) error) error {
	// Any number may look through a door, as far as there is room.
	ctx, _, done, err := w.take(ctx, fmt.Sprintf("%s through its door %d", at.info.Device, w.looks.Add(1)), "listening", api.SerialPlace{})
	if err != nil {
		return err
	}
	defer done()
	pieces, stop := line.Tap()
	defer stop()
	base := countsOf(line.Stats())
	h := new(hearing)
	ended := make(chan error, 1)
	go func() {
		ended <- w.look(ctx, at.info.Door, line, pieces, func(p serialin.Piece) error { h.add(p); return nil })
	}()
	counts := func() api.SerialCounts { return since(base, countsOf(line.Stats())) }
	err = h.tell(ctx, counts, ended, api.SerialHeard{Settings: at.config.String(), Door: at.info.Door}, tell)
	done() // ends the goroutine above, before stop
	<-ended
	return ending(ctx, err)
}

// tell tells what is heard until ctx or what is heard ends, beginning with first.
func (h *hearing) tell(ctx context.Context, counts func() api.SerialCounts, ended chan error, first api.SerialHeard, tell func(api.SerialHeard) error) error {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	var a advisor
	line := strings.TrimSpace(first.Door + " " + first.Settings)
	next, last := first, time.Time{}
	for over := error(nil); ; {
		now := time.Now()
		next.Pieces, next.Missed = h.take()
		if len(next.Pieces) > 0 || next.Missed > 0 || now.Sub(last) >= tellQuiet || over != nil {
			next.Counts = counts()
			next.Wrong, next.Say = wrongs(next.Counts)
			next.Say = strings.TrimSuffix(line+", "+next.Say, ", ")
			next.Advice = a.advise(now, next.Counts)
			if err := tell(next); err != nil {
				return err
			}
			next, last = api.SerialHeard{}, now
		}
		if over != nil {
			return over
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case over = <-ended:
			ended <- over // for whoever waits for that, too
		case <-tick.C:
		}
	}
}

// overhearing is a port that is listened to, and what came.
type overhearing struct {
	hearing
	port    *serialport.Port
	writing sync.Mutex

	mu      sync.Mutex // guards the scanner
	scanner *frame.Scanner
}

func (o *overhearing) show(p serialin.Piece) {
	o.add(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.scanner.Write(p.Bytes)
	o.count()
}

func (o *overhearing) silent() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.scanner.Idle()
	o.count()
}

// count takes frames out of the way: they are only counted.
func (o *overhearing) count() {
	for ok := true; ok; {
		_, ok = o.scanner.Next()
	}
}

func (o *overhearing) counts() api.SerialCounts {
	o.mu.Lock()
	defer o.mu.Unlock()
	return countsOf(serialin.Stats{Frames: o.scanner.Stats().Frames, Scan: o.scanner.Stats(), Port: o.port.Counters()})
}

// write writes, and shows that.
func (o *overhearing) write(b []byte) (int, error) {
	o.writing.Lock()
	defer o.writing.Unlock()
	n, err := o.port.Write(b)
	o.add(serialin.Piece{At: time.Now(), Direction: serialin.Out, Bytes: b[:n]})
	return n, err
}

// countsOf takes the counts out of those of a door.
func countsOf(s serialin.Stats) api.SerialCounts {
	p := s.Port
	return api.SerialCounts{
		Received: p.Received, Sent: p.Sent, Frames: s.Frames, BadChecksums: s.Scan.BadChecksum, Damaged: p.Damaged, Counted: p.Counted,
		ParityErrors: p.Parity, FrameErrors: p.Frame, Breaks: p.Break, Overruns: p.Overrun + p.Overflow,
	}
}

func since(base, now api.SerialCounts) api.SerialCounts {
	return api.SerialCounts{
		Received: now.Received - base.Received, Sent: now.Sent - base.Sent, Frames: now.Frames - base.Frames,
		BadChecksums: now.BadChecksums - base.BadChecksums, Damaged: now.Damaged - base.Damaged, Counted: now.Counted,
		ParityErrors: now.ParityErrors - base.ParityErrors, FrameErrors: now.FrameErrors - base.FrameErrors,
		Breaks: now.Breaks - base.Breaks, Overruns: now.Overruns - base.Overruns,
	}
}

// Bytes are given some time to gather in the kernel after each read, as the door
// does: a line at full speed would wake it up for each few.
const (
	gatherTime  = 5 * time.Millisecond
	gatherBytes = 1024
)

// readPieces shows what comes in at a port until it breaks or is closed; the error
// says why, os.ErrClosed for that. After a silence of that length, silent is called
// once; it may be nil.
func readPieces(port *serialport.Port, silence time.Duration, show func(serialin.Piece), silent func()) error {
	buf := make([]byte, 4096)
	patience := time.Duration(-1)
	for {
		n, err := port.ReadTimeout(buf, patience)
		damaged := errors.Is(err, serialport.ErrDamaged)
		if err != nil && !damaged {
			return err
		}
		if n == 0 {
			silent()
			patience = -1
			continue
		}
		show(serialin.Piece{At: time.Now(), Direction: serialin.In, Bytes: buf[:n], Damaged: damaged})
		if silent != nil {
			patience = silence
		}
		if n < gatherBytes && !damaged {
			port.Pause(gatherTime)
		}
	}
}

// isEnd says whether an error only says that somebody has ended it.
func isEnd(err error) bool {
	return errors.Is(err, os.ErrClosed) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
