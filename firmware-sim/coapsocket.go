package firmwaresim

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// coapSocket is one endpoint: message IDs and tokens count from a random number.
type coapSocket struct {
	net.Conn
	device *sendingDevice
	users  int // owned by the courier
	reader sync.WaitGroup

	mu      sync.Mutex
	random  *rand.Rand
	id      uint16
	tokens  uint64
	used    int
	byToken map[string]*coapExchange
	byID    map[uint16]*coapExchange
}

// coapExchange is a request that waits for its answer.
type coapExchange struct {
	id    uint16
	token string
	came  chan coapMessage
}

func openCoAPSocket(ctx context.Context, host string, d *sendingDevice) (*coapSocket, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "udp", host)
	if err != nil {
		return nil, err
	}
	s := &coapSocket{
		Conn: conn, device: d, random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		byToken: make(map[string]*coapExchange), byID: make(map[uint16]*coapExchange),
	}
	s.id, s.tokens = uint16(s.random.Uint32()), s.random.Uint64()
	s.reader.Go(s.read)
	return s, nil
}

func (s *coapSocket) usedUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used >= maxMessages
}

func (s *coapSocket) close() {
	s.Conn.Close()
	s.reader.Wait()
}

// named gives a message its ID and its token.
func (s *coapSocket) named(m coapMessage) coapMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used++
	s.id++
	s.tokens++
	m.id, m.token = s.id, binary.BigEndian.AppendUint32(nil, uint32(s.tokens))
	return m
}

// exchange sends a confirmable request, as often as RFC 7252, §4.2, has it, and
// returns the answer.
func (s *coapSocket) exchange(ctx context.Context, m coapMessage, p *shipment) (answer coapMessage, err error) {
	m = s.named(m)
	x := &coapExchange{id: m.id, token: string(m.token), came: make(chan coapMessage, 8)}
	s.expect(x)
	defer s.forget(x)
	wait := s.firstWait()
	for attempt := 0; attempt <= coapMaxRetransmit; attempt++ {
		if attempt > 0 {
			s.device.sender.retransmitted.Add(1)
			if s.device.sender.cfg.Forgiving {
				s.device.account.Again(p.first, p.last)
			}
		}
		if err := s.transmit(ctx, m, p); err != nil {
			return answer, err
		}
		answer, err = s.await(ctx, x, wait)
		if !errors.Is(err, errLate) {
			return answer, err
		}
		wait *= 2
	}
	return answer, errLate
}

// firstWait is between ACK_TIMEOUT and ACK_RANDOM_FACTOR times that.
func (s *coapSocket) firstWait() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	factor := 1 + s.random.Float64()*(coapRandomFactor-1)
	return time.Duration(factor * float64(s.device.sender.cfg.AckTimeout))
}

// transmit writes a datagram, as often as the faults say. A network that cannot
// be reached is one that loses datagrams.
func (s *coapSocket) transmit(ctx context.Context, m coapMessage, p *shipment) error {
	copies, pause := s.device.copies()
	if pause > 0 {
		if err := sleepUntil(ctx, time.Now().Add(pause)); err != nil {
			return err
		}
	}
	if copies > 1 && s.device.sender.cfg.Forgiving {
		s.device.account.Again(p.first, p.last)
	}
	datagram := m.append(nil)
	for range copies {
		if _, err := s.Write(datagram); errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	return ctx.Err()
}

// await waits for the answer; after an empty acknowledgement, for the one that
// comes on its own.
func (s *coapSocket) await(ctx context.Context, x *coapExchange, wait time.Duration) (coapMessage, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case m := <-x.came:
			switch {
			case m.kind == coapRST:
				return m, errReset
			case m.code != coapEmpty:
				return m, nil
			}
			timer.Reset(maxSeparate)
		case <-timer.C:
			return coapMessage{}, errLate
		case <-ctx.Done():
			return coapMessage{}, ctx.Err()
		}
	}
}

func (s *coapSocket) expect(x *coapExchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[x.id], s.byToken[x.token] = x, x
}

func (s *coapSocket) forget(x *coapExchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, x.id)
	delete(s.byToken, x.token)
}

// read hands datagrams to the exchanges that they belong to, until the socket is
// closed.
func (s *coapSocket) read() {
	b := make([]byte, 64<<10)
	for {
		n, err := s.Read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // what somebody said of an earlier datagram: nobody is there
		}
		if m, err := parseCoAP(append([]byte(nil), b[:n]...)); err == nil {
			s.take(m)
		}
	}
}

// take finds the exchange of a message. An answer that comes on its own, in a
// message that is confirmable, is acknowledged, or its sender would go on.
func (s *coapSocket) take(m coapMessage) {
	s.mu.Lock()
	x := s.byToken[string(m.token)]
	if m.kind == coapACK || m.kind == coapRST {
		x = s.byID[m.id]
	}
	s.mu.Unlock()
	known := x != nil && m.code.class() != 0
	switch m.kind {
	case coapCON:
		kind := coapRST
		if known {
			kind = coapACK
		}
		s.Write(coapMessage{kind: kind, id: m.id}.append(nil))
	case coapACK:
		known = x != nil && (m.code == coapEmpty || m.code.class() != 0 && string(m.token) == x.token)
	case coapRST:
		known = x != nil
	}
	if known {
		select {
		case x.came <- m:
		default: // it has more to look at than it can need
		}
	}
}
