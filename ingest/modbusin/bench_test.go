package modbusin

import (
	"context"
	"encoding/binary"
	"io"
	"math"
	"net"
	"testing"
	"time"

	"github.com/goburrow/modbus"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// floats is how many f32 a benchmarked poll reads: 100 registers.
const floats = 50

// flat serves one connection with an answer that never changes and costs no
// allocation.
func flat(tb testing.TB) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		answer := []byte{0, 0, 0, 0, 0, 3 + 4*floats, 1, 3, 4 * floats}
		for i := range floats {
			answer = binary.BigEndian.AppendUint32(answer, math.Float32bits(float32(i)+0.25))
		}
		var q [12]byte
		for {
			if _, err := io.ReadFull(conn, q[:]); err != nil {
				return
			}
			copy(answer, q[:2])
			if _, err := conn.Write(answer); err != nil {
				return
			}
		}
	}()
	tb.Cleanup(func() { l.Close(); <-ended })
	return l.Addr().String()
}

// sink takes everything and keeps nothing.
type sink struct{ n int }

func (s *sink) Accept(_ context.Context, rs []reading.Reading, _ ...reading.Note) (ingest.Receipt, error) {
	s.n += len(rs)
	return s, nil
}
func (*sink) Notes(context.Context, string, func(reading.Note) error) error { return nil }
func (*sink) Wait(context.Context) error                                    { return nil }

func floatSlave() Slave {
	s := words(1)
	s.Every = time.Nanosecond // always due
	for i := range uint16(floats) {
		s.Registers = append(s.Registers, Register{Metric: metric(i), Unit: "V", Table: Holding, Address: 2 * i, Format: Format{Type: "f32"}})
	}
	return s
}

// BenchmarkPoll reads and decodes 50 floats over a TCP connection on this
// machine: ours from the scheduler to the intake, beside a Modbus library's
// client and the bare exchange of the same bytes.
func BenchmarkPoll(b *testing.B) {
	b.Run("tidegate", pollByScheduler)
	b.Run("goburrow", pollByLibrary)
	b.Run("bare", pollByHand)
}

func pollByScheduler(b *testing.B) {
	source, err := New(Config{URL: "tcp://" + flat(b), Slaves: []Slave{floatSlave()}}, quietLog())
	if err != nil {
		b.Fatal(err)
	}
	taken := &sink{}
	bus := &bus{Source: source, intake: ingest.NewIntake(taken, nil, time.Now)}
	bus.slaves[0].begin(time.Now())
	if err := bus.connect(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer bus.close()
	b.ReportAllocs()
	for b.Loop() {
		now := time.Now()
		_, wanted := bus.choose(now)
		if err := bus.ask(b.Context(), bus.slaves[wanted], now); err != nil {
			b.Fatal(err)
		}
		if err := bus.listen(b.Context(), now); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "polls/s")
	if taken.n != b.N*floats {
		b.Fatalf("%d readings of %d polls", taken.n, b.N)
	}
}

func pollByLibrary(b *testing.B) {
	transport := modbus.NewTCPClientHandler(flat(b))
	transport.SlaveId = 1
	if err := transport.Connect(); err != nil {
		b.Fatal(err)
	}
	defer transport.Close()
	client := modbus.NewClient(transport)
	sum := 0.0
	b.ReportAllocs()
	for b.Loop() {
		data, err := client.ReadHoldingRegisters(0, 2*floats)
		if err != nil || len(data) != 4*floats {
			b.Fatal(err)
		}
		for i := 0; i < len(data); i += 4 {
			sum += float64(math.Float32frombits(binary.BigEndian.Uint32(data[i:])))
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "polls/s")
}

func pollByHand(b *testing.B) {
	conn, err := net.Dial("tcp", flat(b))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	question := []byte{0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 2 * floats}
	var answer [9 + 4*floats]byte
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(question); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, answer[:]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "polls/s")
}

// BenchmarkDecode turns the data of one full answer into readings.
func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct {
		name   string
		format Format
		step   uint16
	}{
		{"u16", Format{Type: "u16"}, 1}, {"i16-scaled", Format{Type: "i16", Scale: 0.1}, 1}, {"f32", Format{Type: "f32"}, 2},
		{"u32-cdab-scaled", Format{Type: "u32", Order: 3, Scale: 0.01}, 2},
	} {
		b.Run(c.name, func(b *testing.B) {
			cfg := words(1)
			for a := uint16(0); a+c.step <= MaxRegisters; a += c.step {
				cfg.Registers = append(cfg.Registers, Register{Metric: metric(a), Table: Holding, Address: a, Format: c.format})
			}
			s := newSlave(cfg, nil)
			p := s.polls[0]
			data := make([]byte, 2*MaxRegisters)
			for i := 0; i+4 <= len(data); i += 4 {
				binary.BigEndian.PutUint32(data[i:], math.Float32bits(21.37+float32(i)))
			}
			b.ReportAllocs()
			for b.Loop() {
				p.readings = p.readings[:0]
				s.keep(p, p.plan[0], data, 1)
			}
			b.ReportMetric(float64(len(cfg.Registers)*b.N)/b.Elapsed().Seconds(), "readings/s")
		})
	}
}

// TestAPollCostsNoAllocation of its own, once it has been made.
func TestAPollCostsNoAllocation(t *testing.T) {
	source, err := New(Config{URL: "tcp://" + flat(t), Slaves: []Slave{floatSlave()}}, quietLog())
	if err != nil {
		t.Fatal(err)
	}
	bus := &bus{Source: source, intake: ingest.NewIntake(&sink{}, nil, time.Now)}
	bus.slaves[0].begin(time.Now())
	if err := bus.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer bus.close()
	poll := func() {
		now := time.Now()
		if err := bus.ask(t.Context(), bus.slaves[0], now); err != nil {
			t.Fatal(err)
		}
		if err := bus.listen(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	poll()
	if n := testing.AllocsPerRun(200, poll); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
