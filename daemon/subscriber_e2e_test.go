package daemon

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path"
	"strings"
	"sync"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// subscriber is an MQTT 3.1.1 client with a lasting session and QoS 2, which
// comes back whenever the gateway does, and remembers what it was given.
type subscriber struct {
	*site
	filter     string
	subscribed chan struct{} // closed when the broker has promised

	mu    sync.Mutex
	heard map[firmwaresim.Sample]int
	open  map[uint16]bool // QoS 2 messages that were taken and not released
	again int             // sessions that went on
	wrong error           // the first that a broker must not do
}

// startSubscriber returns when the subscription is acknowledged. The end of the
// test disconnects it.
func (s *site) startSubscriber(filter string) *subscriber {
	s.Helper()
	sub := &subscriber{site: s, filter: filter, subscribed: make(chan struct{}), heard: map[firmwaresim.Sample]int{}, open: map[uint16]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			_ = sub.session(ctx) // it ends with every kill
			pass(5 * time.Millisecond)
		}
	})
	s.Cleanup(func() {
		cancel()
		running.Wait()
	})
	s.eventually("the subscription is acknowledged", func() bool { return isClosed(sub.subscribed) })
	return sub
}

// session is the life of one connection.
func (s *subscriber) session(ctx context.Context) error {
	conn, err := net.Dial("tcp", s.mqtt)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	const keepSession, keepAlive = 0, 60
	if _, err := conn.Write(packet(0x10, field("MQTT"), []byte{4, keepSession, 0, keepAlive}, field("subscriber"))); err != nil {
		return err
	}
	for in := bufio.NewReader(conn); ; {
		first, err := in.ReadByte()
		if err != nil {
			return err
		}
		size, err := binary.ReadUvarint(in)
		if err != nil {
			return err
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(in, body); err != nil {
			return err
		}
		if answer := s.take(first, body); answer != nil {
			if _, err := conn.Write(answer); err != nil {
				return err
			}
		}
	}
}

// take remembers what a packet says and returns the answer to it.
func (s *subscriber) take(first byte, body []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch first >> 4 {
	case 2: // CONNACK
		present := body[0]&1 == 1
		switch {
		case !isClosed(s.subscribed):
			return packet(0x82, []byte{0, 1}, field(s.filter), []byte{2})
		case !present && s.wrong == nil:
			s.wrong = fmt.Errorf("the session is forgotten after %d times that it went on", s.again)
		}
		s.again++
	case 9: // SUBACK
		close(s.subscribed)
	case 3: // PUBLISH
		return s.message(first>>1&3, body)
	case 6: // PUBREL
		delete(s.open, binary.BigEndian.Uint16(body))
		return packet(0x70, body)
	}
	return nil
}

func (s *subscriber) message(qos byte, body []byte) []byte {
	n := binary.BigEndian.Uint16(body)
	topic, rest := string(body[2:2+n]), body[2+n:]
	var id []byte
	if qos > 0 {
		id, rest = rest[:2], rest[2:]
	}
	var payload struct{ Seq uint64 }
	if err := json.Unmarshal(rest, &payload); err != nil && s.wrong == nil {
		s.wrong = fmt.Errorf("%s: %w", topic, err)
	}
	sample := firmwaresim.Sample{Device: path.Base(topic), Seq: payload.Seq}
	switch qos {
	case 1:
		s.heard[sample]++
		return packet(0x40, id)
	case 2:
		if key := binary.BigEndian.Uint16(id); !s.open[key] {
			s.open[key] = true
			s.heard[sample]++
		}
		return packet(0x50, id)
	}
	return nil
}

// audit checks that the subscriber got every message of these devices that was
// acknowledged to its publisher, and that of QoS 2 none came twice.
func (s *subscriber) audit(ledger *firmwaresim.Ledger, atLeastOnce, exactlyOnce string) (heard int) {
	s.Helper()
	missing := func() (lost []firmwaresim.Sample) {
		s.mu.Lock()
		defer s.mu.Unlock()
		heard = 0
		for sample := range ledger.All() {
			if !strings.HasPrefix(sample.Device, atLeastOnce) && !strings.HasPrefix(sample.Device, exactlyOnce) {
				continue
			}
			if heard++; s.heard[sample] == 0 {
				lost = append(lost, sample)
			}
		}
		return lost
	}
	for deadline := time.Now().Add(patience); len(missing()) > 0 && time.Now().Before(deadline); {
		pass(10 * time.Millisecond)
	}
	if lost := missing(); len(lost) > 0 {
		s.Errorf("%d of %d messages were acknowledged and did not come to the subscriber, the first: %v", len(lost), heard, lost[:min(len(lost), 10)])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for sample, times := range s.heard {
		if times > 1 && strings.HasPrefix(sample.Device, exactlyOnce) {
			s.Errorf("%v came to the subscriber %d times at QoS 2", sample, times)
		}
	}
	if s.wrong != nil {
		s.Error(s.wrong)
	}
	return heard
}
