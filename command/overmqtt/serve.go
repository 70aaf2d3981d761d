package overmqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/command"
)

// maxAhead is how many commands, and maxAheadBytes how many bytes of them, may wait
// for their decision. A broker of MQTT 5 is told its window; one of 3.1.1 has a
// window of its own, of which none is known that is larger.
const (
	maxAhead      = 256
	maxAheadBytes = 4 << 20
)

// session serves one connection.
type session struct {
	*link
	cfg     Config
	courier *Courier
	clerk   *command.Clerk

	in      chan packets.Packet // from the reader
	broken  chan error          // why the reader or the writer of decisions ended
	letters chan packets.Packet // to whoever decides
	decided chan decided

	waiting []packets.Packet // for a place in letters
	ahead   int              // commands that are not decided, and their bytes
	bytes   int

	replies  []reply          // answers that are to be published
	unacked  map[uint16]reply // and those under way
	next     uint16
	late     int    // answers of the outbox that the broker does not have yet
	last     uint64 // when it has, the outbox is told up to here
	denied   bool
	heard    time.Time
	finished sync.WaitGroup
}

// reply is an answer, and the packet identifier of the command that is acknowledged
// when the broker has it. A late answer acknowledges nothing.
type reply struct {
	answer command.Answer
	id     uint16
	late   bool
}

type decided struct {
	id     uint16
	bytes  int
	answer command.Answer
	err    error
}

// serve moves commands and answers until the connection breaks or ctx ends.
func (c *Courier) serve(ctx context.Context, l *link, clerk *command.Clerk) error {
	s := &session{
		link: l, cfg: c.cfg, courier: c, clerk: clerk,
		in: make(chan packets.Packet), broken: make(chan error, 1), letters: make(chan packets.Packet), decided: make(chan decided),
		unacked: make(map[uint16]reply), next: firstAnswer, heard: time.Now(),
	}
	ctx, cancel := context.WithCancel(ctx)
	s.finished.Go(func() { s.listen(ctx) })
	s.finished.Go(func() { s.decide(ctx) })
	err := s.loop(ctx)
	if ctx.Err() != nil {
		_ = l.put([]byte{packets.Disconnect << 4, 0}) // out of politeness
	}
	cancel()
	l.Conn.Close()
	s.finished.Wait()
	return err
}

// listen reads packets.
func (s *session) listen(ctx context.Context) {
	for {
		pk, err := s.read()
		if err != nil {
			s.broken <- err
			return
		}
		select {
		case s.in <- pk:
		case <-ctx.Done():
			return
		}
	}
}

// decide asks the clerk, which may take its time.
func (s *session) decide(ctx context.Context) {
	for {
		select {
		case pk := <-s.letters:
			a, err := s.clerk.Decide(ctx, command.Letter{Body: pk.Payload})
			select {
			case s.decided <- decided{id: pk.PacketID, bytes: len(pk.Payload), answer: a, err: err}:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (s *session) loop(ctx context.Context) error {
	tick := time.NewTicker(max(s.cfg.KeepAlive/2, time.Second))
	defer tick.Stop()
	if err := s.tell(); err != nil {
		return err
	}
	for {
		var letters chan packets.Packet
		var first packets.Packet
		if len(s.waiting) > 0 {
			letters, first = s.letters, s.waiting[0]
		}
		var err error
		select {
		case <-ctx.Done():
			return nil
		case err = <-s.broken:
		case pk := <-s.in:
			s.heard = time.Now()
			err = s.take(pk)
		case letters <- first:
			s.waiting = s.waiting[1:]
		case d := <-s.decided:
			err = s.settle(d)
		case <-s.clerk.More():
			err = s.tell()
		case <-tick.C:
			err = s.tend()
		}
		if err != nil {
			return err
		}
	}
}

// take takes a packet of the broker.
func (s *session) take(pk packets.Packet) error {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		s.ahead++
		s.bytes += len(pk.Payload)
		if s.ahead > maxAhead || s.bytes > maxAheadBytes {
			return fmt.Errorf("the broker sends more than %d commands ahead — hint: lower its max_inflight_messages", maxAhead)
		}
		s.waiting = append(s.waiting, pk)
	case packets.Suback:
		if len(pk.ReasonCodes) != 1 || pk.ReasonCodes[0] >= 0x80 {
			return fmt.Errorf("subscribing to %s was refused — hint: let this user subscribe to it in the broker's access list", s.cfg.Topic)
		}
		s.clerk.Up(s.about())
	case packets.Puback:
		return s.acked(pk.PacketID, pk.ReasonCode)
	case packets.Disconnect:
		if pk.ReasonCode == packets.ErrSessionTakenOver.Code {
			return errors.New("another client came with the same client_id — hint: give each its own, also the uplink to the same broker")
		}
		return fmt.Errorf("the broker ended the connection with code 0x%02X — hint: see what its log says", pk.ReasonCode)
	}
	return nil
}

// settle answers what is decided. What is not stays the broker's, which sends it
// again over the next connection.
func (s *session) settle(d decided) error {
	if d.err != nil {
		return fmt.Errorf("a command is not decided: %w", d.err)
	}
	s.ahead--
	s.bytes -= d.bytes
	if s.cfg.Answers == "" || !d.answer.Wanted {
		return s.acknowledge(d.id)
	}
	s.replies = append(s.replies, reply{answer: d.answer, id: d.id})
	return s.publishAnswers()
}

// acknowledge says that the command is not the broker's business any more.
func (s *session) acknowledge(id uint16) error {
	if id == 0 {
		return nil // QoS 0, or a late answer: nobody waits for it
	}
	return s.put([]byte{packets.Puback << 4, 2, byte(id >> 8), byte(id)})
}

// tell publishes what is in the outbox, unless answers of it are under way already.
func (s *session) tell() error {
	if s.late > 0 {
		return nil
	}
	answers, last := s.clerk.Outbox()
	if s.cfg.Answers == "" {
		s.clerk.Told(last)
		return nil
	}
	s.late, s.last = len(answers), last
	for _, a := range answers {
		s.replies = append(s.replies, reply{answer: a, late: true})
	}
	return s.publishAnswers()
}

// publishAnswers fills the window.
func (s *session) publishAnswers() error {
	for len(s.replies) > 0 && len(s.unacked) < s.window {
		r := s.replies[0]
		body, err := json.Marshal(r.answer)
		if err != nil {
			return err
		}
		pk := packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, ProtocolVersion: s.level,
			TopicName: s.cfg.Answers, PacketID: s.next, Payload: body,
		}
		if err := s.send(&pk); err != nil {
			return err
		}
		s.unacked[s.next], s.replies = r, s.replies[1:]
		for s.next++; s.next < firstAnswer || s.isUnderWay(s.next); s.next++ {
		}
	}
	return nil
}

func (s *session) isUnderWay(id uint16) bool {
	_, yes := s.unacked[id]
	return yes
}

// acked takes note that the broker has an answer, and acknowledges its command. An
// answer that it does not want is told, too: it would not want it later either.
func (s *session) acked(id uint16, code byte) error {
	r, known := s.unacked[id]
	if !known {
		return nil
	}
	delete(s.unacked, id)
	if code >= 0x80 && !s.denied {
		s.denied = true
		s.courier.log.Warn("answers to commands are refused — hint: let this user publish to the topic of answers", "topic", s.cfg.Answers, "code", code)
	}
	if err := s.acknowledge(r.id); err != nil {
		return err
	}
	if r.late {
		if s.late--; s.late == 0 {
			s.clerk.Told(s.last)
			if err := s.tell(); err != nil {
				return err
			}
		}
	}
	return s.publishAnswers()
}

// errSilent says that the broker does not answer.
var errSilent = errors.New("the broker has gone silent — hint: the link is dead, or something in between has forgotten the connection")

// tend asks for a sign of life.
func (s *session) tend() error {
	switch quiet := time.Since(s.heard); {
	case quiet >= s.cfg.KeepAlive+s.cfg.KeepAlive/2:
		return errSilent
	case quiet >= s.cfg.KeepAlive/2:
		return s.put([]byte{packets.Pingreq << 4, 0})
	}
	return nil
}
