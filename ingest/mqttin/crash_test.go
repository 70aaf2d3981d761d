package mqttin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// plot cuts the power at the n-th instant at which something may be lost: before
// and after each call of custody, before and after each packet that a client is
// sent.
type plot struct {
	*ingesttest.Custody
	mu   sync.Mutex
	left int // instants until the crash; negative for none
	cut  chan struct{}
	ends []io.Closer         // connections that end with the power
	next *ingesttest.Custody // of the next life, after the crash
}

func newPlot(custody *ingesttest.Custody, left int) *plot {
	return &plot{Custody: custody, left: left, cut: make(chan struct{})}
}

// instant is a moment at which the power may be cut.
func (p *plot) instant() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 {
		p.next = p.Custody.Crash()
		close(p.cut)
		for _, end := range p.ends {
			end.Close()
		}
	}
	p.left--
}

// endsWithPower closes something when the power is cut, or was.
func (p *plot) endsWithPower(end io.Closer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ends = append(p.ends, end)
	if p.next != nil {
		end.Close()
	}
}

// Accept commits a moment after it has returned.
func (p *plot) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	p.instant()
	receipt, err := p.Custody.Accept(ctx, rs, notes...)
	p.instant()
	time.AfterFunc(100*time.Microsecond, p.Custody.Commit)
	return receipt, err
}

// story is a publisher and a subscriber whose sessions last, who do what the
// standard asks of them, whatever happens to the gateway.
type story struct {
	t              *testing.T
	version        byte
	pubQoS, subQoS byte
	messages       int
	subscribed     bool
	sent           int             // messages that the publisher has finished
	released       bool            // PUBREC came for the one at hand
	open           map[uint16]bool // QoS 2 messages that the subscriber was not told to release
	got            map[string]int  // messages that the subscriber has taken, how often
}

func (s *story) qos() byte { return min(s.pubQoS, s.subQoS) }

// TestEveryCrashOfEveryExchange cuts the power at every instant of every
// exchange. What was acknowledged reaches the subscriber, and with QoS 2 exactly
// once, as it does custody.
func TestEveryCrashOfEveryExchange(t *testing.T) {
	for _, version := range []byte{4, 5} {
		for pub := range byte(3) {
			for sub := range byte(3) {
				t.Run(fmt.Sprintf("v%d/%dto%d", version, pub, sub), func(t *testing.T) {
					t.Parallel()
					for n := 0; ; n++ {
						s := &story{t: t, version: version, pubQoS: pub, subQoS: sub, messages: 2,
							open: map[uint16]bool{}, got: map[string]int{}}
						crashed := s.tell(n)
						if t.Failed() {
							t.Fatalf("with a crash at instant %d", n)
						}
						if !crashed {
							return
						}
					}
				})
			}
		}
	}
}

// tell lets the story happen, with a crash at the n-th instant. It returns false
// when the story was over before.
func (s *story) tell(n int) (crashed bool) {
	first := newPlot(ingesttest.NewCustody(), n)
	if s.live(first) {
		s.check(first.Custody)
		return false
	}
	second := newPlot(first.next, -1)
	if !s.live(second) {
		s.t.Fatal("the second life did not get to the end")
	}
	s.check(second.Custody)
	return true
}

// live runs a gateway until the story is over or the power is cut.
func (s *story) live(p *plot) (over bool) {
	src, stop := run(s.t, p, Config{Anonymous: true, Linger: time.Millisecond})
	defer stop()
	var all sync.WaitGroup
	ready := make(chan struct{})
	results := make(chan error, 2)
	all.Go(func() { results <- s.subscribe(p, src, ready) })
	all.Go(func() {
		select {
		case <-ready:
			results <- s.publish(p, src)
		case <-p.cut:
			results <- errCut
		}
	})
	all.Wait()
	for range 2 {
		if err := <-results; err != nil && !errors.Is(err, errCut) {
			s.t.Fatal(err)
		} else if err != nil {
			return false
		}
	}
	return true
}

var errCut = errors.New("the power was cut")

// line is a client whose connection ends with the power.
type line struct {
	*client
	p *plot
}

func (s *story) connect(p *plot, src *Source, id string) (*line, error) {
	l := &line{dial(s.t, src), p}
	l.version = s.version
	p.endsWithPower(l)
	l.say(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect},
		Connect:    packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: id, Keepalive: 60},
		Properties: packets.Properties{SessionExpiryInterval: 3600, SessionExpiryIntervalFlag: s.version == 5}})
	_, err := l.hear()
	return l, err
}

func (l *line) say(pk packets.Packet) { l.Write(l.encode(pk)) }

// hear reads a packet. The instants are before it is seen and, at the next call,
// after it was answered.
func (l *line) hear() (packets.Packet, error) {
	l.p.instant()
	pk, err := l.next(ingesttest.Patience)
	select {
	case <-l.p.cut:
		return pk, errCut
	default:
	}
	if err == nil {
		l.p.instant()
	}
	select {
	case <-l.p.cut:
		return pk, errCut
	default:
		return pk, err
	}
}

func (s *story) publish(p *plot, src *Source) error {
	l, err := s.connect(p, src, "publisher")
	if err != nil {
		return err
	}
	defer l.Close()
	for s.sent < s.messages {
		pk := publishPacket("story", fmt.Sprint(s.sent), s.pubQoS, 0)
		if s.pubQoS > 0 {
			pk.PacketID = 1 // always the same one
			pk.FixedHeader.Dup = true
		}
		if !s.released {
			l.say(pk)
		}
		if err := s.finish(l); err != nil {
			return err
		}
		s.sent++
	}
	return nil
}

// finish goes through the exchange of one publish.
func (s *story) finish(l *line) error {
	if s.pubQoS == 1 {
		_, err := l.hear()
		return err
	}
	if s.pubQoS == 0 {
		return nil
	}
	if !s.released {
		if _, err := l.hear(); err != nil {
			return err
		}
		s.released = true
	}
	l.say(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: 1})
	for {
		pk, err := l.hear()
		if err != nil {
			return err
		}
		if pk.FixedHeader.Type == packets.Pubcomp {
			s.released = false
			return nil
		}
	}
}

func (s *story) subscribe(p *plot, src *Source, ready chan<- struct{}) error {
	l, err := s.connect(p, src, "subscriber")
	if err != nil {
		return err
	}
	defer l.Close()
	if !s.subscribed {
		l.say(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1,
			Filters: packets.Subscriptions{{Filter: "story", Qos: s.subQoS}}})
		if _, err := l.hear(); err != nil {
			return err
		}
		s.subscribed = true
	}
	close(ready)
	for s.qos() > 0 && (len(s.got) < s.messages || len(s.open) > 0) {
		pk, err := l.hear()
		if err != nil {
			return err
		}
		s.take(l, pk)
	}
	return nil
}

// take does what a subscriber does with a packet.
func (s *story) take(l *line, pk packets.Packet) {
	answer := packets.Packet{PacketID: pk.PacketID}
	switch {
	case pk.FixedHeader.Type == packets.Pubrel:
		delete(s.open, pk.PacketID)
		answer.FixedHeader.Type = packets.Pubcomp
	case pk.FixedHeader.Qos == 1:
		s.got[string(pk.Payload)]++
		answer.FixedHeader.Type = packets.Puback
	case pk.FixedHeader.Qos == 2:
		if !s.open[pk.PacketID] {
			s.got[string(pk.Payload)]++
		}
		s.open[pk.PacketID] = true
		answer.FixedHeader.Type = packets.Pubrec
	}
	l.say(answer)
}

func (s *story) check(custody *ingesttest.Custody) {
	stored := map[string]int{}
	for _, r := range custody.Stored() {
		stored[fmt.Sprint(r.Value)]++
	}
	for i := range s.messages {
		key := fmt.Sprint(i)
		if n := stored[key]; s.pubQoS == 2 && n != 1 || s.pubQoS == 1 && n < 1 {
			s.t.Errorf("message %d was stored %d times: %v", i, n, stored)
		}
		if n := s.got[key]; s.qos() == 2 && n != 1 || s.qos() == 1 && n < 1 {
			s.t.Errorf("message %d was delivered %d times", i, n)
		}
	}
}
