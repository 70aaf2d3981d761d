package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/refine"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

// The world of the model: devices that send again what was not acknowledged, the
// connections that they had and have, a door, and a custody that may take its
// time, refuse, fail and die.

// packet is what a device publishes: a reading, an announcement, or both.
type packet struct {
	device  *device
	acked   bool
	measure bool
	time    int64
	value   int64
	key     string // of what is announced; empty for nothing
	words   string // empty to withdraw
	turns   bool   // its value is beyond the alarm's threshold, and the one before was not
	said    int    // where in world.said
}

// GoString keeps what a failure prints short.
func (p *packet) GoString() string { return string(p.payload()) }

func (d *device) GoString() string { return d.name }

func (c *conn) GoString() string { return fmt.Sprintf("of %s with %#v", c.device.name, c.read) }

func (p *packet) payload() []byte {
	return fmt.Appendf(nil, "%v %d %d %s %s", p.measure, p.time, p.value, p.key, p.words)
}

// packets decodes them.
type packets struct{}

func (packets) Decode(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	field := strings.Split(string(f.Payload), " ")
	if key, words := field[3], field[4]; key != "" {
		var value []byte
		if words != "" {
			value = []byte(words)
		}
		f.Remember(key, value)
	}
	if field[0] == "true" {
		var t, v int64
		fmt.Sscan(field[1], &t)
		fmt.Sscan(field[2], &v)
		dst = append(dst, reading.Reading{Device: f.Device, Metric: "m", Time: t, Value: reading.Int(v)})
	}
	return dst, nil
}

type device struct {
	name   string
	conn   *conn
	unsent []*packet // by this connection
	open   []*packet // published and not acknowledged
	time   int64
	value  int64
	hot    bool // the value is beyond the alarm's threshold
}

// conn is a connection, as the door sees it.
type conn struct {
	life   *lifetime
	intake *ingest.Intake
	device *device
	batch  []reading.Reading
	read   []*packet // that the batch is of
	marks  []mark
	busy   bool // in custody
	closed bool
}

// mark is packets that are acknowledged when a receipt resolves.
type mark struct {
	receipt ingest.Receipt
	packets []*packet
}

// lifetime is what dies with the process.
type lifetime struct {
	intake *ingest.Intake
	chain  *refine.Chain
	ctx    context.Context
	die    context.CancelFunc
}

// narrow is a custody with a door that can be shut.
type narrow struct {
	*ingesttest.Custody
	mu   sync.Mutex
	room chan struct{} // closed while there is room
}

func (n *narrow) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	n.mu.Lock()
	room := n.room
	n.mu.Unlock()
	select {
	case <-room:
		return n.Custody.Accept(ctx, rs, notes...)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *narrow) shut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.room:
		n.room = make(chan struct{})
	default: // somebody may wait for it
	}
}

func (n *narrow) unlock() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.room:
	default:
		close(n.room)
	}
}

type world struct {
	*rapid.T
	filters bool
	custody *narrow
	life    *lifetime
	devices []*device
	conns   []*conn             // of this life
	said    map[string][]string // what was remembered under each key, in order
	band    int64               // what a reading that was left out may be wrong by
}

const (
	worldBand = 3
	worldHot  = 40
)

func newWorld(t *rapid.T, filters bool) *world {
	w := &world{T: t, filters: filters, said: map[string][]string{}, band: worldBand}
	for i := range 3 {
		w.devices = append(w.devices, &device{name: fmt.Sprint("d", i), time: 1e18})
	}
	w.begin(ingesttest.NewCustody())
	return w
}

// begin begins a life over what the one before has left.
func (w *world) begin(custody *ingesttest.Custody) {
	w.custody = &narrow{Custody: custody, room: make(chan struct{})}
	w.custody.unlock()
	memory := ingest.NewMemory()
	if err := memory.Load(context.Background(), custody); err != nil {
		w.Fatal(err)
	}
	l := &lifetime{intake: ingest.NewIntake(w.custody, nil, func() time.Time { return time.Unix(2e9, 0) }).WithMemory(memory)}
	l.ctx, l.die = context.WithCancel(context.Background())
	if w.filters {
		band, hot := float64(worldBand), float64(worldHot)
		chain, err := refine.New(refine.Config{Steps: []refine.Step{{Deadband: &band, AlarmAbove: &hot}}})
		if err != nil {
			w.Fatal(err)
		}
		l.chain = chain
		l.intake.OnLoss(chain.Forget)
	}
	w.life, w.conns = l, nil
}

// crash cuts the power.
func (w *world) crash() {
	next := w.custody.Crash()
	w.life.die()
	synctest.Wait()
	for _, d := range w.devices {
		w.hangUp(d)
	}
	w.begin(next)
	w.band = 2 * worldBand // what is sent again is judged anew
}

// connect gives a device a connection, on which it sends again what is open.
func (w *world) connect(d *device) {
	d.conn = &conn{life: w.life, intake: w.life.intake.Passage(), device: d}
	d.unsent = slices.Clone(d.open)
	w.conns = append(w.conns, d.conn)
}

// hangUp is what a device notices. The door may have the connection for longer.
func (w *world) hangUp(d *device) { d.conn, d.unsent = nil, nil }

func (w *world) publish(d *device, p *packet) {
	p.device = d
	d.open = append(d.open, p)
	d.unsent = append(d.unsent, p)
}

// receive lets the door read the next packet of a connection.
func (c *conn) receive(w *world) {
	p := c.device.unsent[0]
	c.device.unsent = c.device.unsent[1:]
	if p.key != "" {
		p.said = len(w.said[p.key])
		w.said[p.key] = append(w.said[p.key], p.words)
	}
	target := route.Target{Device: c.device.name, Decoder: packets{}}
	if w.filters {
		target.Refine = c.life.chain
	}
	c.batch, _, _ = target.Read(c.batch, p.payload(), route.Arrival{Intake: c.intake, Now: c.intake.Now()})
	c.read = append(c.read, p)
}

// flush hands a batch to custody, which may take its time.
func (c *conn) flush() {
	c.busy = true
	go func() {
		defer func() { c.batch, c.read, c.busy = nil, nil, false }()
		receipt, err := c.intake.Accept(c.life.ctx, c.batch)
		if err != nil {
			c.closed = true
			return
		}
		c.marks = append(c.marks, mark{receipt, c.read})
	}()
	synctest.Wait()
}

// answer lets the acknowledgements leave that are due.
func (w *world) answer() {
	for _, c := range w.conns {
		for len(c.marks) > 0 && !c.closed {
			switch state(c.marks[0].receipt) {
			case "waiting":
				goto next
			case "failed":
				c.closed, c.marks = true, nil
				continue
			}
			if c.device.conn == c {
				w.acknowledge(c.marks[0].packets)
			}
			c.marks = c.marks[1:]
		}
	next:
		if c.closed && c.device.conn == c {
			w.hangUp(c.device)
		}
		if c.closed && !c.busy {
			c.intake.Leave()
		}
	}
	w.conns = slices.DeleteFunc(w.conns, func(c *conn) bool {
		return !c.busy && (c.closed || c.device.conn != c && len(c.read)+len(c.marks) == 0)
	})
}

var errWorld = errors.New("disk is gone")
