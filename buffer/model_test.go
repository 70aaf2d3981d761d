package buffer

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
)

// TestBufferBehavesLikeItsModel drives a buffer and a slice model with the same
// random actions: accept, next, ack, close, crash, fill up.
func TestBufferBehavesLikeItsModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "model")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		m := &model{t: rt, dir: dir}
		m.open()
		defer func() { m.close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"accept": m.accept,
			"fill":   m.fill,
			"next":   m.next,
			"ack":    m.ack,
			"reopen": m.reopen,
			"crash":  m.crash,
			"look":   m.look,
			"":       m.check,
		})
		m.drain()
	})
}

// model is what the buffer should be: everything that was accepted, by lane,
// and what each sink was handed and has acknowledged.
type model struct {
	t   *rapid.T
	dir string

	buf   *Buffer
	stop  context.CancelFunc
	ended chan error

	taken [reading.Lanes][]float64 // values in order of acceptance
	count float64
	sinks map[string]*modelSink
}

// modelSink is one sink. seen counts readings of a lane that it was handed or
// was told are lost; in flight are blocks that it was handed and has not
// acknowledged.
type modelSink struct {
	cursor   *Cursor
	inFlight []flight
	got      map[float64]bool
	lost     map[string]Gap
}

type flight struct {
	lane        reading.Lane
	first, last uint64
	values      []float64
}

func (m *model) open() {
	buf, err := Open(Config{Dir: m.dir, MaxBytes: MinBytes, Clock: testClock()}, slog.New(slog.DiscardHandler))
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.buf, m.stop, m.ended = buf, cancel, make(chan error, 1)
	if m.sinks == nil {
		m.sinks = map[string]*modelSink{}
		for _, name := range []string{"cloud", "archive"} {
			m.sinks[name] = &modelSink{got: map[float64]bool{}, lost: map[string]Gap{}}
		}
	}
	for name, s := range m.sinks {
		s.cursor, s.inFlight = buf.Cursor(name), nil
	}
	go func() { m.ended <- buf.Run(ctx) }()
}

func (m *model) close() {
	m.stop()
	if err := <-m.ended; err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) take(rs []reading.Reading) {
	receipt, err := m.buf.Accept(context.Background(), rs)
	if err == nil {
		err = receipt.Wait(context.Background())
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) accept(t *rapid.T) {
	var rs []reading.Reading
	for range rapid.IntRange(1, 20).Draw(t, "n") {
		lane := rapid.SampledFrom([]reading.Lane{reading.Normal, reading.Normal, reading.Alarm, reading.Bulk}).Draw(t, "lane")
		m.count++
		m.taken[lane] = append(m.taken[lane], m.count)
		rs = append(rs, reading.Reading{Device: "d", Metric: "m", Time: int64(m.count), Value: reading.Float(m.count), Lane: lane})
	}
	m.take(rs)
}

// fill writes most of a segment, so that some runs reach the bound. Its
// readings carry their number as their time.
func (m *model) fill(t *rapid.T) {
	for range 2 {
		m.count++
		m.taken[reading.Normal] = append(m.taken[reading.Normal], m.count)
		r := noise("fill", int(m.count), 3<<20)
		r.Time = int64(m.count)
		m.take([]reading.Reading{r})
	}
}

func (m *model) sink(t *rapid.T) *modelSink {
	return m.sinks[rapid.SampledFrom([]string{"cloud", "archive"}).Draw(t, "sink")]
}

func (m *model) next(t *rapid.T) {
	m.pull(m.sink(t), rapid.SampledFrom([]int{1, 1000, 1 << 20}).Draw(t, "limit"))
}

// pull takes what there is, if anything.
func (m *model) pull(s *modelSink, limit int) bool {
	now, cancel := context.WithCancel(context.Background())
	cancel() // Next looks before it waits
	blocks, err := s.cursor.Next(now, limit)
	if err != nil {
		return false
	}
	for i, b := range blocks {
		if i > 0 && (b.Lane != blocks[0].Lane || b.First != blocks[i-1].Last()+1) {
			m.t.Fatalf("block %d..%d follows %d..%d", b.First, b.Last(), blocks[i-1].First, blocks[i-1].Last())
		}
		f := flight{lane: b.Lane, first: b.First, last: b.Last()}
		for _, r := range decodeBlock(m.t, b) {
			if r.Device != GapDevice {
				f.values = append(f.values, float64(r.Time))
				continue
			}
			var g Gap
			if err := json.Unmarshal([]byte(r.Value.Text()), &g); err != nil {
				m.t.Fatal(err)
			}
			s.lost[g.Lane+"/"+numberText(g.First)] = g
		}
		s.inFlight = append(s.inFlight, f)
	}
	return true
}

// ack acknowledges some block in flight, in whatever order.
func (m *model) ack(t *rapid.T) {
	if s := m.sink(t); len(s.inFlight) > 0 {
		m.ackOne(s, rapid.IntRange(0, len(s.inFlight)-1).Draw(t, "block"))
	}
}

func (m *model) ackOne(s *modelSink, i int) {
	f := s.inFlight[i]
	s.inFlight = slices.Delete(s.inFlight, i, i+1)
	for _, v := range f.values {
		if s.got[v] {
			m.t.Fatalf("%v was acknowledged and came again", v)
		}
		s.got[v] = true
	}
	if err := s.cursor.Ack(f.lane, f.first, f.last); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) reopen(*rapid.T) {
	m.close()
	m.open()
}

// crash takes back what only a clean end writes. (Readings that were handed out
// but not acknowledged come again; acknowledgements here were all saved.)
func (m *model) crash(*rapid.T) {
	m.close()
	s, _, err := openState(m.dir)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := s.update(put(bucketMeta, []byte(sessionKey), session{})); err != nil {
		m.t.Fatal(err)
	}
	if err := s.close(); err != nil {
		m.t.Fatal(err)
	}
	m.open()
}

func (m *model) check(t *rapid.T) {
	s := m.buf.Stats()
	if s.ReservedBytes > MinBytes {
		t.Fatalf("%d bytes reserved, bound is %d", s.ReservedBytes, MinBytes)
	}
	if s.Problem != "" {
		t.Fatalf("commits fail: %s", s.Problem)
	}
}

// look reads everything as an operator would: nothing is damaged, and history
// holds at least what some sink still waits for.
func (m *model) look(t *rapid.T) {
	found, err := Check(context.Background(), func() (Inventory, error) { return m.buf.Inventory(), nil })
	if err != nil || len(found.Damage) > 0 {
		t.Fatalf("check found %+v, %v", found.Damage, err)
	}
	here, waiting := uint64(0), uint64(0)
	for _, s := range m.sinks {
		waiting = max(waiting, s.cursor.Lag().Readings)
	}
	if _, err := m.buf.History(context.Background(), Query{}, func(Entry) error { here++; return nil }); err != nil {
		t.Fatal(err)
	}
	if here < waiting {
		t.Fatalf("history has %d readings, a sink waits for %d", here, waiting)
	}
}

// drain delivers all that is left to both sinks, and accounts for everything.
func (m *model) drain() {
	for name, s := range m.sinks {
		for m.pull(s, 1<<20) || len(s.inFlight) > 0 {
			for len(s.inFlight) > 0 {
				m.ackOne(s, 0)
			}
		}
		lost := uint64(0)
		for _, g := range s.lost {
			if slices.Contains(g.Sinks, name) {
				lost += g.Count
			}
		}
		missing := 0
		for _, lane := range m.taken {
			for _, v := range lane {
				if !s.got[v] {
					missing++
				}
			}
		}
		if uint64(missing) > lost {
			m.t.Fatalf("%s misses %d readings, gaps declare %d: %+v", name, missing, lost, s.lost)
		}
		if lag := s.cursor.Lag(); lag.Readings != 0 {
			m.t.Fatalf("%s has everything and lags %d behind", name, lag.Readings)
		}
	}
}
