// Package serialin is the door in for serial lines: bytes → frames → readings →
// custody.
//
// Two goroutines share the work, because a line does not wait. One reads and
// cuts frames, whatever the disk does; the other decodes them and hands them to
// custody. Between them is a backlog of bounded size. When it is full, the line
// is not read: the kernel then keeps some hundred kilobytes more, or tells the
// device to wait, if flow control is on. What is lost all the same, the driver
// counts, and the frames around it are not trusted.
//
// A device that goes away is waited for: see Source.Run.
package serialin

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/serialport"
)

// Config is a serial line and what its frames mean.
type Config struct {
	// Port is opened, and opened again when its device has come back.
	Port serialport.Config
	// Framing cuts frames.
	Framing frame.Config
	// Gap is the silence that ends a frame, for framings that look at it. Zero
	// stands for 3.5 characters, and 20 ms at least: USB adapters hand over
	// bytes in lumps that are up to 16 ms apart.
	Gap time.Duration
	// Target is what frames mean that answer no poll. Nil drops them.
	Target *route.Target
	// Polls are what the device is asked.
	Polls []Poll
	// Init is written each time the port was opened.
	Init []byte
	// Confirm is written for each frame once custody is taken, in the order of
	// frames. After a commit that failed, or frames that custody refused, it is
	// written for none that came before and was not confirmed or taken by then, so
	// that a device that waits for it sends again. {frame} in it stands for the
	// frame.
	Confirm []byte
	// AllowSend lets Source.Send write to the device.
	AllowSend bool
	// MaxBacklog bounds the bytes of frames that wait for custody. 1 MiB by
	// default: 11 s of a line at 921,600 baud.
	MaxBacklog int
}

// Poll is a request and what its answer means.
type Poll struct {
	// Request is sent as it is, every Interval.
	Request  []byte
	Interval time.Duration
	// Timeout is how long the answer may take to begin and to end.
	Timeout time.Duration
	// Expect is what an answer begins with. Frames that do not are no answer.
	Expect []byte
	// Target is what the answer means.
	Target *route.Target
}

// The defaults and bounds of a Config.
const (
	defaultBacklog = 1 << 20
	minGap         = 20 * time.Millisecond
)

// The states of a Source.
const (
	Stopped = "stopped"
	Waiting = "waits for its device"
	Open    = "ok"
)

// Source is a serial line. It implements ingest.Source.
type Source struct {
	config Config
	log    *slog.Logger
	look   time.Duration // how often a device that is away is looked for in a hurry
	rest   time.Duration // how often otherwise
	haste  time.Duration // how long a hurry lasts
	wait   time.Duration // for how long, before Run returns
	settle time.Duration // for how long a new device may be refused
	grace  time.Duration // for how long custody may take, once the door stops

	mu     sync.Mutex
	state  string
	expect serialport.Identity // of the device that was opened first
	place  serialport.Place
	port   *serialport.Port    // while it is open
	past   serialport.Counters // of ports that were open before
	last   string              // the last trouble
	lastAt time.Time

	counts counts
	taps   taps
	echoes *echoes // nil if nothing is confirmed
}

// counts are Stats while they grow.
type counts struct {
	frames, opaque, dropped, refused, damaged, unasked atomic.Uint64
	polls, timeouts, confirmed, gone                   atomic.Uint64
	backlog                                            atomic.Int64
	lastFrame                                          atomic.Int64 // Unix nanoseconds
	scan                                               atomic.Pointer[frame.Stats]
}

// Stats says what happened since the Source was made.
type Stats struct {
	// State is Stopped, Waiting or Open. Device is what is open, or was last.
	State, Device string
	// Identity describes that device, as far as it tells of itself.
	Identity string
	// Trouble is the last error, of the line or of what came over it, and
	// TroubleAt when that was.
	Trouble   string
	TroubleAt time.Time
	// Frames came whole. Of these, Opaque ones could not be decoded and were
	// kept, Dropped ones were not, Refused ones found no room in custody, and
	// Unasked ones answered no poll and were not wanted.
	Frames, Opaque, Dropped, Refused, Unasked uint64
	// Damaged frames held a byte that the driver had marked, or lay where it
	// had lost some; they are in none of the counts above.
	Damaged uint64
	// Polls were sent, Timeouts of them were not answered in time.
	Polls, Timeouts uint64
	// Confirmed frames were acknowledged to the device.
	Confirmed uint64
	// Gone is how often the device went away.
	Gone uint64
	// Backlog is how many bytes wait for custody.
	Backlog int
	// LastFrame is when the last frame came; zero for never.
	LastFrame time.Time
	// Scan is what the framing found, Port what the driver did.
	Scan frame.Stats
	Port serialport.Counters
}

// New returns a Source that does not run yet. The error is about the
// configuration.
func New(c Config, log *slog.Logger) (*Source, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.MaxBacklog == 0 {
		c.MaxBacklog = defaultBacklog
	}
	if c.Gap == 0 {
		c.Gap = max(c.Port.CharTime()*7/2, minGap)
	}
	// Where nothing but counting finds the next frame, a silence begins anew.
	c.Framing.DropHalf = c.Framing.DropHalf || !c.Framing.Resyncs()
	s := &Source{config: c, log: log, look: lookEvery, rest: restEvery, haste: hurryFor, wait: waitFor, settle: settle, grace: grace, state: Stopped, taps: newTaps()}
	if len(c.Confirm) > 0 {
		var err error
		if s.echoes, err = newEchoes(c.Framing); err != nil {
			return nil, fmt.Errorf("framing: %w", err)
		}
	}
	return s, nil
}

func (c Config) check() error {
	if err := c.Port.Check(); err != nil {
		return fmt.Errorf("port: %w", err)
	}
	if err := c.Framing.Check(); err != nil {
		return fmt.Errorf("framing: %w", err)
	}
	if c.Gap < 0 || c.MaxBacklog < 0 {
		return errors.New("a negative gap or backlog — hint: leave it out for the default")
	}
	if c.Target == nil && len(c.Polls) == 0 {
		return errors.New("frames mean nothing — hint: give a target, or polls")
	}
	for i, p := range c.Polls {
		switch {
		case len(p.Request) == 0:
			return fmt.Errorf("poll %d has no request — hint: write the bytes that make the device answer", i)
		case p.Interval <= 0 || p.Timeout <= 0:
			return fmt.Errorf("poll %d has interval %v and timeout %v — hint: both must be more than 0", i, p.Interval, p.Timeout)
		case p.Target == nil:
			return fmt.Errorf("the answer of poll %d means nothing — hint: give it a target", i)
		}
	}
	return nil
}

// Stats returns the counts so far.
func (s *Source) Stats() Stats {
	c := &s.counts
	st := Stats{
		Frames: c.frames.Load(), Opaque: c.opaque.Load(), Dropped: c.dropped.Load(), Refused: c.refused.Load(), Unasked: c.unasked.Load(),
		Damaged: c.damaged.Load(), Polls: c.polls.Load(), Timeouts: c.timeouts.Load(), Confirmed: c.confirmed.Load(), Gone: c.gone.Load(),
		Backlog: int(c.backlog.Load()),
	}
	if at := c.lastFrame.Load(); at != 0 {
		st.LastFrame = time.Unix(0, at)
	}
	if scan := c.scan.Load(); scan != nil {
		st.Scan = *scan
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.State, st.Device, st.Trouble, st.TroubleAt, st.Port = s.state, s.place.Device, s.last, s.lastAt, s.past
	if s.place.Identity != (serialport.Identity{}) {
		st.Identity = s.place.Identity.String()
	}
	if s.port != nil {
		st.Port = st.Port.Plus(s.port.Counters())
	}
	return st
}
