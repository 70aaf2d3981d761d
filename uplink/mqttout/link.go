package mqttout

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
)

// Why a link has ended, where the server said nothing.
var (
	errClosed  = errors.New("the server closed the connection")
	errSilent  = errors.New("the server has not been heard of in time — hint: the link is slow or dead")
	errRetired = errors.New("the connection has been closed on this side")
)

// link is one connection after CONNACK. Two goroutines of its own read and
// write until it has failed; fail is the only way to that.
type link struct {
	conn  net.Conn // may be TLS
	raw   net.Conn // what is below
	in    *bufio.Reader
	terms terms
	// keepAlive is for how long nothing may be written before a PINGREQ is, and
	// twice the time that its answer may take; 0 for no PINGREQ. idleClose is
	// for how long a link without work stays; 0 for ever.
	keepAlive, idleClose time.Duration
	learned              *learned
	// goodbye is published before the link is closed for want of work; nil for
	// nothing.
	goodbye *publication

	// slots has one element for each publication under way, and room for as
	// many as may be; doubles does so for those with QoS 2, and is nil where they
	// are nothing special.
	slots, doubles chan struct{}

	queued chan struct{} // something is in queue
	dead   chan struct{} // closed by fail
	tasks  sync.WaitGroup

	mu        sync.Mutex
	err       error // why it is dead
	retired   bool  // nothing more may begin
	broken    error // why nothing more can be written
	under     exchanges
	kept      kept // exchanges of QoS 2 that a connection before this one began
	aliases   aliases
	queue     []outgoing
	heard     time.Time // when the last packet came
	worked    time.Time // when something last began or ended
	abandoned int       // publications whose batch has given up
}

// maxDoubles is how many publications with QoS 2 a server of MQTT 3.1.1 is sent at
// once. It cannot say how many it takes, and what is beyond it may be refused in a
// PUBREC that looks like any other: mosquitto, which takes 20, does that.
const maxDoubles = 10

// outgoing is a packet that waits for the writer.
type outgoing struct {
	head    []byte
	payload []byte
	batch   *batch // of a publication with QoS 0, which ends when it is written
	last    bool   // nothing follows
}

func newLink(conn, raw net.Conn, in *bufio.Reader, t terms, cfg *Config, what *learned) *link {
	l := &link{
		conn: conn, raw: raw, in: in, terms: t, learned: what,
		keepAlive: t.keepAlive(cfg.KeepAlive), idleClose: cfg.IdleClose,
		slots:  make(chan struct{}, min(t.receiveMaximum, cfg.MaxInflight)),
		queued: make(chan struct{}, 1), dead: make(chan struct{}),
		aliases: aliases{room: t.aliasRoom(cfg.MaxAliases, what)},
		heard:   time.Now(), worked: time.Now(),
	}
	if t.level < level5 {
		l.doubles = make(chan struct{}, min(maxDoubles, cfg.MaxInflight))
	}
	return l
}

// start begins to read and write.
func (l *link) start() {
	l.tasks.Go(l.read)
	l.tasks.Go(l.write)
}

// publish sends the publications in their order and returns when the server has
// them all, or has refused one, or when the link or ctx has ended.
func (l *link) publish(ctx context.Context, pubs []publication) error {
	begun, b := time.Now(), newBatch()
	for i := range pubs {
		if !l.room(ctx, pubs[i].qos) || !l.begin(b, &pubs[i]) {
			break
		}
	}
	l.mu.Lock()
	b.finish()
	l.mu.Unlock()
	select {
	case <-b.done:
	case <-ctx.Done():
		return l.giveUp(b, pubs, begun, ctx.Err())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	settle(pubs)
	switch {
	case b.err != nil:
		return b.err
	case b.begun == len(pubs):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case l.err != nil:
		return l.err
	}
	return errRetired
}

// settle notes what has arrived, for the next attempt.
func settle(pubs []publication) {
	for i := range pubs {
		pubs[i].settled = pubs[i].arrived
	}
}

// room waits for a place among the publications under way.
func (l *link) room(ctx context.Context, qos byte) bool {
	if qos == 2 && l.doubles != nil {
		select {
		case l.doubles <- struct{}{}:
		case <-ctx.Done():
			return false
		case <-l.dead:
			return false
		}
	}
	select {
	case l.slots <- struct{}{}:
		return true
	case <-ctx.Done():
	case <-l.dead:
	}
	if qos == 2 && l.doubles != nil {
		<-l.doubles
	}
	return false
}

// leavePlace gives back what room has found.
func (l *link) leavePlace(qos byte) {
	<-l.slots
	if qos == 2 && l.doubles != nil {
		<-l.doubles
	}
}

// begin queues a publication, in a place that room has found. It does not when
// another of the batch has failed: all will be sent again.
func (l *link) begin(b *batch, p *publication) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.err != nil || l.err != nil || l.retired {
		l.leavePlace(p.qos)
		return false
	}
	b.begun++
	l.worked = time.Now()
	if p.qos == 2 && l.resume(b, p) {
		return true
	}
	l.enqueue(b, p, 0)
	return true
}

// enqueue queues a publication under a new identifier, or again under the one
// that it has. It returns the exchange, nil with QoS 0.
func (l *link) enqueue(b *batch, p *publication, id uint16) (e *exchange) {
	l.learned.newest.mayRetain(p)
	f := wireForm{level: l.terms.level, id: id, dup: id > 0}
	f.alias, f.known = l.aliases.name(p.topic)
	out, size := outgoing{payload: p.payload}, p.size(f.level)
	if p.qos > 0 {
		e = &exchange{batch: b, pub: p, aliased: f.known, size: size}
		if id > 0 {
			l.under.again(id, e)
		} else {
			f.id = l.under.begin(e)
		}
	} else {
		out.batch = b
	}
	out.head = p.appendHead(make([]byte, 0, size-len(p.payload)), f)
	l.learned.count(p, f, size)
	l.push(out)
	return e
}

// push queues a packet.
func (l *link) push(o outgoing) {
	l.queue = append(l.queue, o)
	select {
	case l.queued <- struct{}{}:
	default:
	}
}

// giveUp is for a batch whose time is over. What of it is under way stays so
// until it is answered, unless nothing at all has been heard since it began:
// then nobody may be there any more.
func (l *link) giveUp(b *batch, pubs []publication, begun time.Time, cause error) error {
	l.mu.Lock()
	settle(pubs)
	waiting, of, worst := b.begun-b.ended, b.begun, b.err
	for id, e := range l.under.open {
		if e != nil && e.batch == b {
			e.abandoned = true
			l.abandoned++
			l.kept.wait(id, e)
		}
	}
	silent, stuck := !l.heard.After(begun), 2*l.abandoned > cap(l.slots)
	l.mu.Unlock()
	if silent || stuck {
		l.fail(errSilent)
	}
	return worse(worst, fmt.Errorf("%d of %d publications were not answered: %w", waiting, of, netfault.Explain(cause)))
}

// read takes what the server sends until the link fails.
func (l *link) read() {
	buf := make([]byte, 256)
	for {
		first, body, err := readPacket(l.in, buf)
		if err == nil {
			err = l.take(first, body)
		} else {
			err = l.lost(err)
		}
		if err != nil {
			l.fail(err)
			l.conn.Close() // what is above raw, which is closed
			return
		}
	}
}

// lost is why the link has ended when nothing more can be read.
func (l *link) lost(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return cmp.Or(l.broken, lost(err))
}

// lost says what it means that nothing more can be read.
func lost(err error) error {
	if errors.Is(err, errMalformed) {
		return fmt.Errorf("%w — hint: is something in between that is no MQTT server?", err)
	}
	return netfault.Explain(fmt.Errorf("%w: %w", errClosed, err))
}

// take takes one packet of the server.
func (l *link) take(first byte, body []byte) error {
	pk, err := decode(first, body, l.terms.level)
	if err != nil {
		return fmt.Errorf("%w — hint: %s", err, hintOurs)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = time.Now()
	switch kind := pk.FixedHeader.Type; kind {
	case packets.Puback, packets.Pubrec, packets.Pubcomp:
		return l.answer(kind, &pk)
	case packets.Pingresp:
		return nil
	case packets.Disconnect:
		if pk.ReasonCode == packets.ErrTopicAliasInvalid.Code {
			l.learned.noAliases.Store(true)
		}
		return judgeFarewell(&pk)
	default:
		return fmt.Errorf("%w: %s in the middle of a connection — hint: %s", errMalformed, packets.PacketNames[kind], hintOurs)
	}
}

func (l *link) answer(kind byte, pk *packets.Packet) error {
	e, step, err := l.under.answered(kind, pk.PacketID, pk.ReasonCode >= 0x80)
	if err != nil {
		return fmt.Errorf("%w: %w — hint: %s", errMalformed, err, hintOurs)
	}
	if step == release {
		if len(l.queue) > 2*cap(l.slots) { // everything under way, and an answer to each
			return fmt.Errorf("%w: more answers than are read — hint: %s", errMalformed, hintOurs)
		}
		l.push(outgoing{head: appendPubrel(nil, pk.PacketID)})
		return nil
	}
	verdict := judgeAnswer(pk, e.pub)
	if e.aliased && (uplink.IsPermanent(verdict) || pk.ReasonCode == packets.ErrNotAuthorized.Code) {
		// Some servers look the topic up in their access list before they look
		// up the alias, and do not find it.
		l.learned.noAliases.Store(true)
		l.aliases = aliases{}
		verdict = fmt.Errorf("with an alias instead of the topic, which is not tried again: %w", plain{verdict})
	}
	l.end(e, verdict)
	return nil
}

// plain takes its class off an error.
type plain struct{ error }

// end gives the place of an exchange back.
func (l *link) end(e *exchange, verdict error) {
	l.worked = time.Now()
	l.leavePlace(e.pub.qos)
	if e.abandoned {
		l.abandoned--
	}
	if e.batch == nil {
		l.kept.ended(e, verdict)
		return
	}
	e.pub.arrived = verdict == nil
	e.batch.end(verdict)
}

// fail ends the link: everything under way has failed because of err, with one
// exception. A server that finds a packet too large and hangs up does not say
// which: only the largest one is sure to be.
func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	others, large := err, 0
	if uplink.IsPermanent(err) {
		others = plain{err}
		for _, e := range l.under.open {
			if e != nil {
				large = max(large, e.size)
			}
		}
	}
	l.err = others
	for id, e := range l.under.open {
		delete(l.under.open, id)
		if e == nil {
			continue
		}
		verdict := others
		if e.size == large {
			verdict = err
		}
		l.kept.keep(id, e)
		l.end(e, verdict)
	}
	for _, o := range l.queue {
		if o.batch != nil {
			<-l.slots
			o.batch.end(others)
		}
	}
	l.queue = nil
	close(l.dead)
	l.raw.Close() // not TLS's: it would wait for a peer who may be gone
}

// alive reports whether publications may begin.
func (l *link) alive() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil && !l.retired
}
