package firmwaresim

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The messages are those of RFC 7252, Appendix A, figures 16 and 17, but for the
// method; and one whose options need extended deltas and lengths.
func TestMessagesAreThoseOfTheSpecification(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 300)
	for hex, want := range map[string]coapMessage{
		"40 01 7D34 BB 74656D7065726174757265":              {kind: coapCON, code: 1, id: 0x7D34, options: []coapOption{{coapUriPath, []byte("temperature")}}},
		"41 01 7D35 20 BB 74656D7065726174757265":           {kind: coapCON, code: 1, id: 0x7D35, token: []byte{0x20}, options: []coapOption{{coapUriPath, []byte("temperature")}}},
		"60 45 7D34 FF 32322E332043":                        {kind: coapACK, code: 2<<5 | 5, id: 0x7D34, payload: []byte("22.3 C")},
		"70 00 0001":                                        {kind: coapRST, id: 1},
		"50 02 0002 DE 0E 001F" + strings.Repeat("78", 300): {kind: coapNON, code: coapPOST, id: 2, options: []coapOption{{coapBlock1, long}}},
		"50 02 0002 E1 0000 07 00":                          {kind: coapNON, code: coapPOST, id: 2, options: []coapOption{{269, []byte{7}}, {269, nil}}},
	} {
		b := bytesOf(t, hex)
		if got := want.append(nil); !bytes.Equal(got, b) {
			t.Errorf("% X, want % X", got, b)
		}
		if got, err := parseCoAP(b); err != nil || !bytes.Equal(got.append(nil), b) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	for _, bad := range []string{"", "40 00 00", "80 01 0001", "49 01 0001 000000000000000000", "42 01 0001 00", "40 01 0001 B5 74",
		"40 01 0001 F0", "40 01 0001 0F", "40 01 0001 D0", "40 01 0001 E0 00", "40 01 0001 FF", "40 00 0001 FF 01"} {
		if m, err := parseCoAP(bytesOf(t, bad)); err == nil {
			t.Errorf("%s is %+v", bad, m)
		}
	}
	// RFC 7959, §2.2: NUM 24 bits at the most, M, SZX.
	if o := (coapBlock{number: 3, more: true, power: 7}).option(); !bytes.Equal(o.value, []byte{0x3B}) {
		t.Errorf("% X", o.value)
	}
	if b, ok := blockOf(coapOption{coapBlock1, []byte{0x01, 0x0E}}); !ok || b != (coapBlock{16, true, 10}) {
		t.Errorf("%+v, %v", b, ok)
	}
}

func FuzzParseCoAP(f *testing.F) {
	for _, text := range []string{"\x40\x01\x7d\x34\xbbtemperature", "\x60\x45\x7d\x34\xff22.3 C", "\x50\x02\x00\x02\xe1\x00\x00\x07\x00"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseCoAP(b)
		if err != nil {
			return
		}
		again, err := parseCoAP(m.append(nil))
		if err != nil || again.id != m.id || again.code != m.code || again.kind != m.kind || !bytes.Equal(again.token, m.token) ||
			!bytes.Equal(again.payload, m.payload) || !slices.EqualFunc(again.options, m.options, func(a, b coapOption) bool {
			return a.number == b.number && bytes.Equal(a.value, b.value)
		}) {
			t.Fatalf("% X is %+v, which is %+v again, %v", b, m, again, err)
		}
	})
}

// coapPeer is a server whose every answer is written down in the test.
type coapPeer struct {
	mu       sync.Mutex
	got      []coapMessage
	answered map[uint16]bool // by message ID
	acks     []uint16        // that the device sent
	rsts     []uint16
}

// startCoAP answers each message but acknowledgements as answer says. What a device
// sends again because the answer takes its time has crossed it on the way: the answer is
// there, and n counts it once.
func startCoAP(t *testing.T, answer func(n int, m coapMessage) []coapMessage) (*coapPeer, string) {
	t.Helper()
	p := &coapPeer{answered: make(map[uint16]bool)}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			m, err := parseCoAP(bytes.Clone(b[:n]))
			if err != nil {
				t.Errorf("% X: %v", b[:n], err)
				continue
			}
			for _, out := range p.take(m, answer) {
				conn.WriteTo(out.append(nil), from)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return p, "coap://" + conn.LocalAddr().String()
}

func (p *coapPeer) take(m coapMessage, answer func(int, coapMessage) []coapMessage) []coapMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.kind {
	case coapACK:
		p.acks = append(p.acks, m.id)
		return nil
	case coapRST:
		p.rsts = append(p.rsts, m.id)
		return nil
	}
	if p.answered[m.id] {
		return nil
	}
	p.got = append(p.got, m)
	out := answer(len(p.got)-1, m)
	p.answered[m.id] = len(out) > 0
	return out
}

func (p *coapPeer) all() []coapMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

// piggyback answers in the acknowledgement.
func piggyback(m coapMessage, code coapCode, options ...coapOption) []coapMessage {
	return []coapMessage{{kind: coapACK, code: code, id: m.id, token: m.token, options: options}}
}

func quick(url string, count uint64) SenderConfig {
	return SenderConfig{URL: url, Count: count, AckTimeout: 80 * time.Millisecond}
}

func TestCoAPRetransmitsUntilItIsAcknowledged(t *testing.T) {
	for timeout := 80 * time.Millisecond; !retransmitsTwice(t, timeout); timeout *= 4 {
	}
	ledger := NewLedger()
	_, url := startCoAP(t, func(n int, m coapMessage) []coapMessage {
		if n == 0 {
			return nil
		}
		return piggyback(m, coapChanged)
	})
	cfg := quick(url, 1)
	cfg.Forgiving, cfg.AckTimeout = true, 2*time.Second // in which the second is answered
	if _, err := sendAll(t, cfg, ledger); err != nil {
		t.Fatal(err)
	}
	if _, again := ledger.Count(); again != 1 {
		t.Errorf("%d again, want the retransmission", again)
	}
}

// retransmitsTwice returns false if an acknowledgement may have been late.
func retransmitsTwice(t *testing.T, timeout time.Duration) (inTime bool) {
	t.Helper()
	p, url := startCoAP(t, func(n int, m coapMessage) []coapMessage {
		if n < 2 {
			return nil
		}
		return piggyback(m, coapChanged)
	})
	ledger := NewLedger()
	cfg := quick(url, 2)
	cfg.AckTimeout = timeout
	s, err := sendAll(t, cfg, ledger)
	if err != nil || s.Acked != 2 || s.Again != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	if s.Retransmitted > 2 && timeout < 2*time.Second {
		return false
	}
	if s.Retransmitted != 2 {
		t.Errorf("%d retransmissions, want two", s.Retransmitted)
	}
	got := p.all()
	first := got[0].append(nil)
	if !bytes.Equal(got[1].append(nil), first) || !bytes.Equal(got[2].append(nil), first) || got[3].id == got[0].id {
		t.Errorf("%+v", got)
	}
	var path []string
	for _, o := range got[0].options {
		if o.number == coapUriPath {
			path = append(path, string(o.value))
		}
	}
	format, _ := got[0].option(coapContentFormat)
	if strings.Join(path, "/") != "site/sim/dev/dev-0000/telemetry" || format.uint() != coapFormatJSON || !bytes.HasPrefix(got[0].payload, []byte(`{"ts":`)) {
		t.Errorf("%v %v %s", path, format, got[0].payload)
	}
	if acked, again := ledger.Count(); acked != 2 || again != 0 {
		t.Errorf("%d acknowledged, %d again", acked, again)
	}
	return true
}

func TestCoAPAnswersThatComeOnTheirOwn(t *testing.T) {
	p, url := startCoAP(t, func(n int, m coapMessage) []coapMessage {
		separate := coapMessage{kind: coapCON, code: coapChanged, id: uint16(7000 + n), token: m.token}
		switch n {
		case 0: // as RFC 7252, §5.2.2
			return []coapMessage{{kind: coapACK, id: m.id}, {kind: coapCON, code: coapChanged, id: 6999, token: []byte("else")}, separate}
		case 1: // the acknowledgement was lost
			return []coapMessage{separate}
		}
		separate.kind = coapNON
		return []coapMessage{{kind: coapACK, id: m.id}, separate}
	})
	s, err := sendAll(t, quick(url, 3), nil)
	if err != nil || s.Acked != 3 {
		t.Fatalf("%+v, %v", s, err)
	}
	eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.Equal(p.acks, []uint16{7000, 7001}) && slices.Equal(p.rsts, []uint16{6999}) // the latter answered nothing
	})
}

func TestCoAPAnswersThatAreNoAcknowledgement(t *testing.T) {
	_, url := startCoAP(t, func(n int, m coapMessage) []coapMessage {
		switch n {
		case 0:
			return piggyback(m, coapUnavailable, coapNumber(coapMaxAge, 1))
		case 1:
			return []coapMessage{{kind: coapRST, id: m.id}}
		case 2: // of another exchange, then a broken one
			return append(piggyback(coapMessage{id: m.id, token: []byte("else")}, coapChanged), piggyback(m, coapTooMany)...)
		case 3:
			return piggyback(m, coapCreated)
		}
		return piggyback(m, 4<<5|0)
	})
	ledger := NewLedger()
	began := time.Now()
	s, err := sendAll(t, quick(url, 2), ledger)
	if err != nil || s.Acked != 1 || s.Again != 3 || s.Refused != 1 || !strings.Contains(s.LastTrouble, "4.00") {
		t.Fatalf("%+v, %v", s, err)
	}
	if time.Since(began) < time.Second {
		t.Error("Max-Age was not waited for")
	}
	if acked, again := ledger.Count(); acked != 1 || again != 3 {
		t.Errorf("%d acknowledged, %d again", acked, again)
	}
	_, url = startCoAP(t, func(_ int, m coapMessage) []coapMessage { return piggyback(m, 4<<5|4) })
	if _, err := sendAll(t, quick(url, 1), nil); !errors.Is(err, ErrUnwanted) {
		t.Error(err)
	}
}

// assemble is a server that puts blocks together: of at most 1<<power bytes, and
// forgetting the first so many of them.
func assemble(t *testing.T, power uint, forget int) (url string, bodies func() []string) {
	var body []byte
	var complete []string
	p, url := startCoAP(t, func(_ int, m coapMessage) []coapMessage {
		o, ok := m.option(coapBlock1)
		if !ok {
			complete = append(complete, string(m.payload))
			return piggyback(m, coapChanged)
		}
		b, _ := blockOf(o)
		if b.number > 0 && forget > 0 {
			forget--
			return piggyback(m, coapIncomplete)
		}
		if b.number == 0 {
			body = nil
		}
		if len(body) != int(b.number)<<b.power {
			t.Errorf("block %+v after %d bytes", b, len(body))
		}
		if body = append(body, m.payload...); !b.more {
			complete = append(complete, string(body))
			return piggyback(m, coapChanged, o)
		}
		return piggyback(m, coapContinue, coapBlock{b.number, true, min(b.power, power)}.option())
	})
	return url, func() []string {
		p.mu.Lock()
		defer p.mu.Unlock()
		return complete
	}
}

func TestCoAPInBlocks(t *testing.T) {
	for name, c := range map[string]struct {
		power  uint
		forget int
	}{"of the device's size": {10, 0}, "of the server's size": {4, 0}, "forgotten": {10, 2}} {
		t.Run(name, func(t *testing.T) {
			url, bodies := assemble(t, c.power, c.forget)
			cfg := quick(url, 3)
			cfg.Shape, cfg.BlockSize, cfg.Audited = Array, 64, true
			cfg.Faults = Faults{Drop: .1}
			ledger := NewLedger()
			s, err := sendAll(t, cfg, ledger)
			if err != nil || s.Acked != 3 {
				t.Fatalf("%+v, %v", s, err)
			}
			var seqs []uint64
			for _, body := range bodies() {
				seqs = append(seqs, countersOf(t, Array, []byte(body))...)
			}
			if !slices.Equal(seqs, upTo(12)) {
				t.Errorf("%v", seqs)
			}
			if acked, _ := ledger.Count(); acked != 12 {
				t.Errorf("%d samples acknowledged", acked)
			}
		})
	}
}

// A 2.31 for another block says nothing of this one.
func TestCoAPBeginsAnewWhenBlocksAreMixedUp(t *testing.T) {
	p, url := startCoAP(t, func(n int, m coapMessage) []coapMessage {
		o, _ := m.option(coapBlock1)
		b, _ := blockOf(o)
		if n == 0 {
			b.number += 2
		}
		if !b.more {
			return piggyback(m, coapChanged, o)
		}
		return piggyback(m, coapContinue, b.option())
	})
	cfg := quick(url, 1)
	cfg.BlockSize = 32
	s, err := sendAll(t, cfg, nil)
	if err != nil || s.Acked != 1 || s.Again != 1 || !strings.Contains(s.LastTrouble, "2.31 to block 0") {
		t.Fatalf("%+v, %v", s, err)
	}
	second, _ := p.all()[1].option(coapBlock1)
	if b, _ := blockOf(second); b.number != 0 {
		t.Errorf("block %d follows", b.number)
	}
}

func TestCoAPWithoutConfirmation(t *testing.T) {
	p, url := startCoAP(t, func(int, coapMessage) []coapMessage { return nil })
	cfg := quick(url, 20)
	cfg.NonConfirmable, cfg.Faults = true, Faults{Duplicate: .5}
	ledger := NewLedger()
	s, err := sendAll(t, cfg, ledger)
	if err != nil || s.Acked != 0 || s.Messages != 20 || ledger.Account("dev-0000").sent.count != 20 {
		t.Fatalf("%+v, %v", s, err)
	}
	eventually(t, func() bool {
		got := p.all()
		return len(got) > 20 && !slices.ContainsFunc(got, func(m coapMessage) bool { return m.kind != coapNON })
	})
}
