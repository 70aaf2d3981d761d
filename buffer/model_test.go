package buffer

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// TestBufferBehavesLikeItsModel drives a buffer and a slice model with the same
// random actions: accept, note, next, ack, refuse, close, crash, fill up, look.
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
			"note":   m.note,
			"refuse": m.refuse,
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
	notes map[string]string
	sinks map[string]*modelSink
}

// modelSink is one sink. In flight are blocks that it was handed and has neither
// acknowledged nor refused; lost is what it was told.
type modelSink struct {
	cursor   *Cursor
	inFlight []flight
	got      map[float64]bool
	lost     map[string]Gap
}

type flight struct {
	wire.Block
	values []float64
}

func (m *model) open() {
	buf, err := Open(Config{Dir: m.dir, MaxBytes: MinBytes, Clock: testClock()}, slog.New(slog.DiscardHandler))
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.buf, m.stop, m.ended = buf, cancel, make(chan error, 1)
	if m.sinks == nil {
		m.notes = map[string]string{}
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

func (m *model) take(rs []reading.Reading, notes ...reading.Note) {
	receipt, err := m.buf.Accept(context.Background(), rs, notes...)
	if err == nil {
		err = receipt.Wait(context.Background())
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) accept(t *rapid.T) { m.take(m.readings(t)) }

// note accepts readings with notes, some of which take others back.
func (m *model) note(t *rapid.T) {
	var notes []reading.Note
	for range rapid.IntRange(1, 3).Draw(t, "notes") {
		n := note("door/"+rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key"), rapid.StringN(0, 20, -1).Draw(t, "value"))
		m.notes[n.Key] = string(n.Value)
		if rapid.IntRange(0, 2).Draw(t, "forget") == 0 {
			n = forget(n.Key)
			delete(m.notes, n.Key)
		}
		notes = append(notes, n)
	}
	m.take(m.readings(t), notes...)
}

func (m *model) readings(t *rapid.T) (rs []reading.Reading) {
	for range rapid.IntRange(1, 20).Draw(t, "n") {
		lane := rapid.SampledFrom([]reading.Lane{reading.Normal, reading.Normal, reading.Alarm, reading.Bulk}).Draw(t, "lane")
		m.count++
		m.taken[lane] = append(m.taken[lane], m.count)
		rs = append(rs, reading.Reading{Device: "d", Metric: "m", Time: int64(m.count), Value: reading.Float(m.count), Lane: lane})
	}
	return rs
}

// fill writes most of a segment, so that some runs reach the bound. Its
// readings carry their number as their time.
func (m *model) fill(t *rapid.T) {
	for range 2 {
		lane := rapid.SampledFrom([]reading.Lane{reading.Normal, reading.Bulk}).Draw(t, "lane")
		m.count++
		m.taken[lane] = append(m.taken[lane], m.count)
		r := noise("fill", int(m.count), 3<<20)
		r.Time, r.Lane = int64(m.count), lane
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
	blocks, err := s.cursor.Next(now, reading.AllLanes, limit)
	if err != nil {
		return false
	}
	for i, b := range blocks {
		if i > 0 && (b.Lane != blocks[0].Lane || b.First != blocks[i-1].Last()+1) {
			m.t.Fatalf("block %d..%d follows %d..%d", b.First, b.Last(), blocks[i-1].First, blocks[i-1].Last())
		}
		f := flight{Block: b}
		for _, r := range decodeBlock(m.t, b) {
			if r.Device != GapDevice {
				f.values = append(f.values, float64(r.Time))
				continue
			}
			var g Gap
			if err := json.Unmarshal([]byte(r.Value.Text()), &g); err != nil {
				m.t.Fatal(err)
			}
			s.lost[fmt.Sprint(g.Lane, g.First, g.Last, g.Sinks)] = g
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
	if err := s.cursor.Ack(f.Lane, f.First, f.Last()); err != nil {
		m.t.Fatal(err)
	}
}

// refuse sets aside a block in flight, as a sink that will never take it makes
// its forwarder do.
func (m *model) refuse(t *rapid.T) {
	name := rapid.SampledFrom([]string{"cloud", "archive"}).Draw(t, "sink")
	s := m.sinks[name]
	if len(s.inFlight) == 0 {
		return
	}
	i := rapid.IntRange(0, len(s.inFlight)-1).Draw(t, "block")
	f := s.inFlight[i]
	if len(f.values) == 0 || len(f.Raw) > 1<<20 { // news of a gap, or more than quarantine is for
		return
	}
	if err := m.buf.Quarantine(name, f.Block, "no"); err != nil {
		t.Fatal(err)
	}
	f.values = nil
	s.inFlight[i] = f
	m.ackOne(s, i)
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
	m.checkNotes()
}

func (m *model) checkNotes() {
	got := map[string]string{}
	err := m.buf.Notes(context.Background(), "door/", func(n reading.Note) error { got[n.Key] = string(n.Value); return nil })
	if err != nil || !maps.Equal(got, m.notes) {
		m.t.Fatalf("notes %v, want %v (%v)", got, m.notes, err)
	}
}

// drain delivers all that is left to both sinks, and accounts for everything.
func (m *model) drain() {
	m.checkNotes()
	m.settle()
	for name, s := range m.sinks {
		for m.pull(s, 1<<20) || len(s.inFlight) > 0 {
			for len(s.inFlight) > 0 {
				m.ackOne(s, 0)
			}
		}
		lost := map[string]uint64{}
		for _, g := range s.lost {
			if slices.Contains(g.Sinks, name) {
				lost[g.Lane] += g.Count
			}
		}
		for lane, values := range m.taken {
			m.account(name, reading.Lane(lane), values, lost[reading.Lane(lane).String()])
		}
		if lag := s.cursor.Lag(); lag.Readings != 0 {
			m.t.Fatalf("%s has everything and lags %d behind", name, lag.Readings)
		}
	}
}

// settle waits until the news of gaps is on flash that waits now.
func (m *model) settle() {
	receipt, err := m.buf.Accept(context.Background(), nil, reading.Note{Key: "model/settled"})
	if err == nil {
		err = receipt.Wait(context.Background())
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// account checks that what a sink did not get of a lane was declared to it: the
// very numbers, where nothing but these readings has numbers. Alarms only go when
// a sink refused them, because there was always something else to evict.
func (m *model) account(name string, lane reading.Lane, values []float64, declared uint64) {
	s, missing := m.sinks[name], uint64(0)
	for i, v := range values {
		if s.got[v] {
			continue
		}
		missing++
		told := func(g Gap) bool {
			return g.Lane == lane.String() && slices.Contains(g.Sinks, name) && g.First <= uint64(i)+1 && uint64(i)+1 <= g.Last
		}
		if lane != reading.Alarm && !slices.ContainsFunc(slices.Collect(maps.Values(s.lost)), told) {
			m.t.Fatalf("%s misses %s %d, and was told of %+v", name, lane, i+1, s.lost)
		}
	}
	if missing > declared {
		m.t.Fatalf("%s misses %d of lane %s, gaps declare %d: %+v", name, missing, lane, declared, s.lost)
	}
	for _, g := range s.lost {
		if lane == reading.Alarm && g.Lane == lane.String() && g.Reason != ReasonQuarantined {
			m.t.Fatalf("alarms went although others could: %+v", g)
		}
	}
}
