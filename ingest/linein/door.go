package linein

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/backoff"
	"github.com/tidegate/tidegate/reading"
)

const (
	// smallRead is what an idle connection holds ready, largeRead what one that
	// has more to say borrows. There are largeReads of these, so that memory
	// does not depend on how many speak at once.
	smallRead  = 1 << 10
	largeRead  = 64 << 10
	largeReads = 8
	// inHand is how many bytes of all connections may be between their read and
	// custody.
	inHand = largeReads * largeRead
	// maxReadings closes a batch, and keptReadings is the longest that is kept
	// for the next.
	maxReadings  = 4096
	keptReadings = 2 * maxReadings
	// maxHeld is how many readings are held until they are on flash, to be given
	// to custody again if they are not, where no peer would send them again.
	maxHeld = 64 << 10
)

// door is a Source while it runs.
type door struct {
	*Source
	intake *ingest.Intake
	room   room
	large  chan []byte // nil ones are not made yet
	spare  sync.Pool   // of *batch
	held   atomic.Int64
	stuck  atomic.Bool // custody did not take what was tried last
	hosts  hosts
}

func newDoor(s *Source, intake *ingest.Intake) *door {
	d := &door{Source: s, intake: intake, room: room{left: inHand}, large: make(chan []byte, largeReads)}
	d.hosts.open = map[netip.Addr]int{}
	for range largeReads {
		d.large <- nil
	}
	return d
}

// batch collects the readings of frames that go to custody together.
type batch struct {
	intake   *ingest.Intake // a passage
	readings []reading.Reading
	arrival  route.Arrival
	frames   int
}

func (d *door) newBatch() *batch {
	b, ok := d.spare.Get().(*batch)
	if !ok {
		b = &batch{intake: d.intake.Passage()}
	}
	b.arrival = route.Arrival{Intake: b.intake, Now: b.intake.Now()}
	return b
}

func (b *batch) isFull() bool { return len(b.readings) >= maxReadings || b.frames >= maxReadings }

// giveBack lets go of what the readings hold. What is not with custody by then
// will never be.
func (d *door) giveBack(b *batch) {
	b.intake.Leave()
	clear(b.readings)
	b.readings, b.frames = b.readings[:0], 0
	if cap(b.readings) <= keptReadings {
		d.spare.Put(b)
	}
}

// decode adds a frame to the batch.
func (d *door) decode(b *batch, t *route.Target, payload []byte) {
	var fate route.Fate
	b.readings, fate, _ = t.Read(b.readings, payload, b.arrival)
	b.frames++
	switch fate {
	case route.Opaque:
		d.stats.opaque.Add(1)
	case route.Dropped:
		d.stats.dropped.Add(1)
	}
}

// Without a reply, nobody sends again what custody did not take. It is tried
// again after these times.
const (
	retryMin = 50 * time.Millisecond
	retryMax = 5 * time.Second
)

// hand gives a batch to custody. The receipt is nil if there is nothing to wait
// for. With a reply it gives up at the first error, because the peer will send
// again; without one it tries again until ctx ends, while nothing more is read.
func (d *door) hand(ctx context.Context, b *batch) (ingest.Receipt, error) {
	if len(b.readings) == 0 && !b.intake.Owes() {
		return nil, nil
	}
	wait := backoff.Backoff{Min: retryMin, Max: retryMax}
	for {
		receipt, err := b.intake.Accept(ctx, b.readings)
		switch {
		case err == nil:
			return receipt, nil
		case ctx.Err() != nil:
			return nil, d.last(ctx, b, err)
		case d.cfg.Reply != "":
			d.stats.notStored.Add(uint64(b.frames))
			return nil, err
		}
		d.hold(err)
		_ = backoff.Sleep(ctx, wait.Next(), nil)
	}
}

// hold counts a try that failed.
func (d *door) hold(err error) {
	d.stats.waits.Add(1)
	if !d.stuck.Swap(true) {
		d.log.Warn("readings cannot be stored for now; they are held, and little more is read meanwhile", "err", err)
	}
}

// grace is how long a stop waits for custody to take what was read already, and for
// replies that are due to leave.
const grace = 500 * time.Millisecond

// last is for a batch that the gateway's stop met: without a reply it is taken
// now or never.
func (d *door) last(ctx context.Context, b *batch, err error) error {
	if d.cfg.Reply == "" {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if _, again := b.intake.Accept(ctx, b.readings); again == nil {
			return err
		}
	}
	d.stats.notStored.Add(uint64(b.frames))
	return err
}

// hosts counts the connections of each address.
type hosts struct {
	mu   sync.Mutex
	open map[netip.Addr]int
}

// admit counts a connection, unless there are too many.
func (d *door) admit(conn net.Conn) (leave func(), ok bool) {
	host := hostOf(conn.RemoteAddr())
	d.hosts.mu.Lock()
	defer d.hosts.mu.Unlock()
	if d.hosts.open[host] >= d.cfg.MaxPerHost || d.stats.clients.Load() >= int64(d.cfg.MaxClients) {
		d.stats.turnedAway.Add(1)
		return nil, false
	}
	d.hosts.open[host]++
	d.stats.clients.Add(1)
	return func() {
		d.hosts.mu.Lock()
		defer d.hosts.mu.Unlock()
		if d.hosts.open[host]--; d.hosts.open[host] == 0 {
			delete(d.hosts.open, host)
		}
		d.stats.clients.Add(-1)
	}, true
}

var errNotStored = errors.New("what came could not be stored")
