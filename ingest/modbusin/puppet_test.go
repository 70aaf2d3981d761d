package modbusin

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// asked is a request as a puppet has seen it.
type asked struct {
	unit, fn       byte
	address, count uint16
	id             uint16 // over TCP
	at             time.Time
	n              int // how many came before
}

// reply is what a puppet does instead of answering as it should: it writes the
// bytes after some time, or nothing.
type reply struct {
	after time.Duration
	bytes []byte
}

// puppet is every slave of a bus. Its words hold their own address plus the
// unit's number times 1000, so that answers can be told apart; its bits are
// those of a fixed pattern.
type puppet struct {
	rtu bool
	// script is asked first; nil lets the puppet answer as it should.
	script func(q asked) []reply
	// took is how long an answer takes.
	took time.Duration

	mu    sync.Mutex
	log   []asked
	conns []net.Conn
}

func word(unit byte, address uint16) uint16 { return uint16(unit)*1000 + address }

func bit(address uint16) bool { return address%3 == 0 }

// right is the PDU that answers as it should. It is written without any code of
// the package under test.
func (q asked) right() []byte {
	if q.fn <= 2 {
		pdu := append([]byte{q.fn, byte((q.count + 7) / 8)}, make([]byte, (q.count+7)/8)...)
		for i := range q.count {
			if bit(q.address + i) {
				pdu[2+i/8] |= 1 << (i % 8)
			}
		}
		return pdu
	}
	pdu := []byte{q.fn, byte(2 * q.count)}
	for i := range q.count {
		pdu = binary.BigEndian.AppendUint16(pdu, word(q.unit, q.address+i))
	}
	return pdu
}

func (q asked) exception(code byte) []byte { return []byte{q.fn | 0x80, code} }

// frame wraps a PDU as the bus does.
func (p *puppet) frame(q asked, pdu []byte) []byte {
	if !p.rtu {
		f := []byte{byte(q.id >> 8), byte(q.id), 0, 0, 0, byte(1 + len(pdu)), q.unit}
		return append(f, pdu...)
	}
	f := append([]byte{q.unit}, pdu...)
	crc := slowCRC(f)
	return append(f, byte(crc), byte(crc>>8))
}

// slowCRC follows the diagram of the specification, bit by bit.
func slowCRC(b []byte) uint16 {
	crc := uint16(0xffff)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xa001
			} else {
				crc >>= 1
			}
		}
	}
	return crc
}

func (p *puppet) read(conn net.Conn) (asked, error) {
	if p.rtu {
		var b [8]byte
		if _, err := io.ReadFull(conn, b[:]); err != nil {
			return asked{}, err
		}
		return asked{unit: b[0], fn: b[1], address: binary.BigEndian.Uint16(b[2:]), count: binary.BigEndian.Uint16(b[4:])}, nil
	}
	var b [12]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return asked{}, err
	}
	return asked{
		id: binary.BigEndian.Uint16(b[:]), unit: b[6], fn: b[7],
		address: binary.BigEndian.Uint16(b[8:]), count: binary.BigEndian.Uint16(b[10:]),
	}, nil
}

// serve answers until the connection ends.
func (p *puppet) serve(conn net.Conn) {
	writing := make(chan struct{}, 1) // a mutex, whose waiting synctest understands
	for {
		q, err := p.read(conn)
		if err != nil {
			conn.Close()
			return
		}
		p.mu.Lock()
		q.at, q.n = time.Now(), len(p.log)
		p.log = append(p.log, q)
		p.mu.Unlock()
		replies := []reply{{p.took, p.frame(q, q.right())}}
		if p.script != nil {
			if own := p.script(q); own != nil {
				replies = own
			}
		}
		for _, r := range replies {
			write := func() {
				writing <- struct{}{}
				defer func() { <-writing }()
				conn.Write(r.bytes)
			}
			if r.after == 0 {
				write()
				continue
			}
			time.AfterFunc(r.after, write)
		}
	}
}

// dial is a dialer to the puppet.
func (p *puppet) dial(context.Context) (line, error) {
	ours, theirs := net.Pipe()
	p.mu.Lock()
	p.conns = append(p.conns, theirs)
	p.mu.Unlock()
	go p.serve(theirs)
	return tcpLine{ours}, nil
}

func (p *puppet) seen() []asked {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]asked(nil), p.log...)
}

// config is a bus of the puppet with slaves that have words from 0 on.
func (p *puppet) config(slaves ...Slave) Config {
	cfg := Config{URL: "tcp://puppet:502", Slaves: slaves, dial: p.dial}
	if p.rtu {
		cfg.URL = "rtu:/dev/puppet"
		cfg.Serial.Baud = 9600
	}
	return cfg
}

// words returns a slave whose words at the addresses are metrics "w<address>".
func words(unit byte, addresses ...uint16) Slave {
	s := Slave{
		Unit: unit, Device: "device-" + string('a'+rune(unit)-1), Every: time.Second, Timeout: 200 * time.Millisecond,
		Retries: 2, Probe: 30 * time.Second,
	}
	for _, a := range addresses {
		s.Registers = append(s.Registers, Register{Metric: metric(a), Table: Holding, Address: a, Format: Format{Type: "u16"}})
	}
	return s
}

func metric(address uint16) string { return "w" + reading.Number(int64(address)).String() }

func upTo(n uint16) (all []uint16) {
	for a := range n {
		all = append(all, a)
	}
	return all
}

// quietLog drops what is logged.
func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// running is a source that runs until stop.
type running struct {
	*Source
	custody *ingesttest.Custody
	stop    func() error
}

func run(t *testing.T, cfg Config) running {
	t.Helper()
	custody := ingesttest.NewCustody()
	custody.CommitAtOnce()
	return runInto(t, cfg, custody, quietLog())
}

func runInto(t *testing.T, cfg Config, custody *ingesttest.Custody, log *slog.Logger) running {
	t.Helper()
	s, err := New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ingest.NewIntake(custody, nil, time.Now)) }()
	return running{s, custody, func() error { cancel(); return <-ended }}
}

// must fails unless every reading says what the puppet's word there holds.
func must(t *testing.T, rs []reading.Reading) {
	t.Helper()
	for _, r := range rs {
		unit := r.Device[len("device-")] - 'a' + 1
		var address uint16
		for _, c := range r.Metric[1:] {
			address = address*10 + uint16(c-'0')
		}
		if want := reading.Float(float64(word(unit, address))); r.Value != want {
			t.Errorf("%s %s is %v, want %v", r.Device, r.Metric, r.Value, want)
		}
	}
}

// count counts the readings of each device.
func count(rs []reading.Reading) map[string]int {
	n := make(map[string]int)
	for _, r := range rs {
		n[r.Device]++
	}
	return n
}
