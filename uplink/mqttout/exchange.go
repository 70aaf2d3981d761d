package mqttout

import (
	"fmt"

	"github.com/mochi-mqtt/server/v2/packets"
)

// exchange is a publication under way with QoS 1 or 2: from its PUBLISH to the
// PUBACK or PUBCOMP that says that the server has it.
type exchange struct {
	batch *batch // who waits for it; nil for nobody
	pub   *publication
	// size is that of the packet, in bytes.
	size int
	// aliased says that its topic travelled as an alias only.
	aliased bool
	// released says that PUBREC has come and PUBREL has gone out.
	released bool
	order    int // in which they began
	// abandoned says that its batch has given up.
	abandoned bool
}

// exchanges is the table of what is under way, by packet identifier. An
// identifier is taken from the PUBLISH until the last answer to it, whatever
// becomes of those who wait. The zero value is an empty table.
type exchanges struct {
	open  map[uint16]*exchange // nil where the identifier is only reserved
	last  uint16               // given out
	count int                  // exchanges that began
}

// maxExchanges is how many identifiers there are: 0 is none.
const maxExchanges = 65535

// begin gives the exchange an identifier that no other has. There must be fewer
// than maxExchanges. Identifiers go round, so that one is not used again at once.
func (x *exchanges) begin(e *exchange) uint16 {
	for {
		if x.last++; x.last == 0 {
			continue
		}
		if _, taken := x.open[x.last]; !taken {
			x.again(x.last, e)
			return x.last
		}
	}
}

// again goes on with an exchange that has its identifier already.
func (x *exchanges) again(id uint16, e *exchange) {
	if x.open == nil {
		x.open = make(map[uint16]*exchange)
	}
	x.open[id] = e
	if e != nil {
		x.count++
		e.order = x.count
	}
}

// reserve keeps an identifier for an exchange that will go on.
func (x *exchanges) reserve(id uint16) { x.again(id, nil) }

// progress is where an answer has brought an exchange.
type progress int

const (
	over    progress = iota // the last answer: the identifier is free
	release                 // PUBREL is due
)

// answered finds the exchange that an answer belongs to. One of a kind that
// fits no exchange is an error: whoever gives such answers may have said yes to
// something else as well.
func (x *exchanges) answered(kind byte, id uint16, refused bool) (*exchange, progress, error) {
	e := x.open[id]
	switch {
	case e == nil:
		return nil, over, fmt.Errorf("%s for %d, which is not under way", packets.PacketNames[kind], id)
	case kind == packets.Puback && !e.released: // also to QoS 2: RabbitMQ has QoS 1 and no more
	case kind == packets.Pubrec && e.pub.qos == 2:
		if !refused {
			e.released = true
			return e, release, nil
		}
		if e.released {
			return nil, over, fmt.Errorf("PUBREC refuses %d, which an earlier one had taken", id)
		}
	case kind == packets.Pubcomp && e.released:
	default:
		return nil, over, fmt.Errorf("%s for %d, which has QoS %d", packets.PacketNames[kind], id, e.pub.qos)
	}
	delete(x.open, id)
	return e, over, nil
}

// batch is the publications of one message. It is guarded by its link's lock.
type batch struct {
	begun, ended int
	complete     bool // all that there will be have begun
	err          error
	done         chan struct{} // closed when all have ended
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// end counts a publication that has arrived, or has not. The worst error stays.
func (b *batch) end(err error) {
	b.ended++
	b.err = worse(b.err, err)
	b.settle()
}

// finish says that nothing more will begin.
func (b *batch) finish() {
	b.complete = true
	b.settle()
}

func (b *batch) settle() {
	if b.complete && b.begun == b.ended {
		close(b.done)
	}
}
