package buffer

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
)

var powerCuts = flag.Int("powercuts", 60, "how many power cuts to explore")

// TestPowerCutLosesNothingAcknowledged records every system call with which a
// process changes the buffer's folder, cuts the power after one of them, and
// looks at what the medium may hold then.
//
// The model. A write, a new length and a reservation are pending until fsync or
// fdatasync of that file has returned; of what is pending at the cut, any subset
// of 512-byte sectors may be there. A new name, a rename and a removal are
// pending until the folder is synced; any number of the first of them may be
// there, as a journal keeps their order. state.db is no exception: its pages
// are among the calls. Not modelled: media that lie about a sync, sectors that
// are lost although they were not written, two calls on one file at a time.
func TestPowerCutLosesNothingAcknowledged(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	calls := recordCalls(t)
	var changes []int // cuts differ only where something changed or was said
	for i, c := range calls {
		if !c.sync {
			changes = append(changes, i)
		}
	}
	rng.Shuffle(len(changes), func(i, j int) { changes[i], changes[j] = changes[j], changes[i] })
	t.Logf("%d calls, %d places to cut", len(calls), len(changes))
	for n := range *powerCuts {
		at := changes[n%len(changes)]
		if ok := t.Run(fmt.Sprintf("after=%d/keep=%d", at, n%4), func(t *testing.T) {
			m := &medium{names: map[string]*inode{}, durable: map[string]*inode{}}
			for _, c := range calls[:at+1] {
				m.apply(c)
			}
			dir := t.TempDir()
			m.cut(t, dir, keepers(rng)[n%4])
			m.said.check(t, dir)
		}); !ok {
			t.Fatalf("last call: %v", calls[at])
		}
	}
}

// keepers decide what of the pending survives the cut.
func keepers(rng *rand.Rand) []func() bool {
	whole := rng.IntN(2) == 0
	return []func() bool{
		func() bool { return false },
		func() bool { return rng.IntN(2) == 0 },
		func() bool { return rng.IntN(16) != 0 },
		func() bool { return whole },
	}
}

// TestPowerCutWorkload is the process that is recorded: small commits, a clean
// end, then large ones until segments are recycled, delivered and not. It says
// on its standard output what the world knows: "took id" when a reading was
// acknowledged, "gave epoch seq id" when it was handed out, "acked seq".
func TestPowerCutWorkload(t *testing.T) {
	dir := os.Getenv("TIDEGATE_POWERCUT_DIR")
	if dir == "" {
		t.Skip("runs under TestPowerCutLosesNothingAcknowledged")
	}
	id := int64(0)
	say := func(words ...any) { fmt.Fprintln(os.Stdout, words...) }
	session := func(commits, text int, deliver func(i int) bool) {
		r := start(t, dir, nil)
		defer r.stop()
		c := r.Cursor("cloud")
		for i := range commits {
			id++
			rd := noise("d", int(id), text)
			rd.Time = id
			r.acceptAll(rd)
			say("took", id)
			if !deliver(i) {
				continue
			}
			for _, b := range r.next(c, 1) {
				if b.Lane == reading.Normal {
					for k, rd := range decode(t, b) {
						say("gave", b.Epoch, b.First+uint64(k), rd.Time)
					}
					say("acked", b.Last())
				}
				c.Ack(b.Lane, b.First, b.Last())
			}
		}
	}
	often := func(i int) bool { return i%3 != 0 }
	session(12, 100, often)
	session(8, 3000, often)
	session(9, maxAcceptText-100, func(i int) bool { return i < 2 })
}

// medium is what is written, and what of it is sure to be there after a cut.
type medium struct {
	names, durable map[string]*inode
	moves          []move // not durable yet
	said           said
}

type inode struct {
	durable []byte
	pending []call
}

func (m *medium) apply(c call) {
	f := m.names[c.name]
	switch {
	case c.said != "":
		m.said.add(c.said)
	case c.sync && c.name == "":
		m.durable, m.moves = maps.Clone(m.names), nil
	case c.sync:
		for _, p := range f.pending {
			f.durable = p.write(f.durable, func() bool { return true })
		}
		f.pending = nil
	case c.create && f != nil: // it was there
	case c.create || c.renameTo != "" || c.unlink:
		if c.create {
			m.names[c.name] = &inode{}
		}
		m.moves = append(m.moves, move{c, m.names[c.name]})
		m.moves[len(m.moves)-1].apply(m.names)
	default:
		f.pending = append(f.pending, c)
	}
}

// move is a call that changes a name, and the file that had it.
type move struct {
	call
	file *inode
}

func (m move) apply(names map[string]*inode) {
	delete(names, m.name)
	if m.create {
		names[m.name] = m.file
	}
	if m.renameTo != "" {
		names[m.renameTo] = m.file
	}
}

// cut writes what is there after a cut into the folder.
func (m *medium) cut(t *testing.T, dir string, keep func() bool) {
	names := maps.Clone(m.durable)
	for _, mv := range m.moves {
		if !keep() {
			break
		}
		mv.apply(names)
	}
	for name, f := range names {
		b := slices.Clone(f.durable)
		for _, p := range f.pending {
			b = p.write(b, keep)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes.TrimRight(b, "\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, int64(len(b))); err != nil {
			t.Fatal(err)
		}
	}
}

// write applies the call sector by sector.
func (c call) write(b []byte, keep func() bool) []byte {
	if c.data == nil {
		if c.off > int64(len(b)) && keep() {
			b = append(b, make([]byte, c.off-int64(len(b)))...)
		}
		return b
	}
	for at := 0; at < len(c.data); {
		n := min(512-int(c.off+int64(at))%512, len(c.data)-at)
		if end := int(c.off) + at + n; keep() {
			b = append(b, make([]byte, max(end-len(b), 0))...)
			copy(b[end-n:], c.data[at:at+n])
		}
		at += n
	}
	return b
}

// said is what the world knows of the process.
type said struct {
	took  []int64          // readings that were acknowledged, in order: number 1, 2, ...
	gave  map[string]int64 // full name → reading that was handed out under it
	acked uint64           // up to here the sink has them
}

func (s *said) add(line string) {
	var kind string
	var a, b, c uint64
	fmt.Sscan(line, &kind, &a, &b, &c)
	switch kind {
	case "took":
		s.took = append(s.took, int64(a))
	case "gave":
		if s.gave == nil {
			s.gave = map[string]int64{}
		}
		s.gave[fmt.Sprint(a, "/", b)] = int64(c)
	case "acked":
		s.acked = a
	}
}

// check opens what the cut left, twice: everything acknowledged is there, with
// the sink, or in a gap; and no number that the sink has seen is another's.
func (s *said) check(t *testing.T, dir string) {
	for again := range 2 {
		b, err := Open(Config{Dir: dir, MaxBytes: MinBytes, Clock: testClock()}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatalf("it does not start: %v", err)
		}
		r := runBuffer(t, b)
		r.acceptAll(reading.Reading{Device: "d", Metric: "after", Time: int64(1000 + again), Value: reading.Int(1)})
		there := map[int64]bool{}
		c, now := r.Cursor("audit"), ended()
		for blocks, err := c.Next(now, 1<<20); err == nil; blocks, err = c.Next(now, 1<<20) {
			for _, blk := range blocks {
				for k, rd := range decode(t, blk) {
					name := fmt.Sprint(blk.Epoch, "/", blk.First+uint64(k))
					if id, seen := s.gave[name]; blk.Lane == reading.Normal && seen && id != rd.Time {
						t.Errorf("%s was handed out as reading %d and is reading %d now", name, id, rd.Time)
					}
					there[rd.Time] = there[rd.Time] || blk.Lane == reading.Normal
				}
			}
		}
		gaps, err := r.Gaps()
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range s.took {
			seq := uint64(i + 1)
			declared := slices.ContainsFunc(gaps, func(g Gap) bool { return g.Lane == "normal" && g.First <= seq && seq <= g.Last })
			if !there[id] && !declared && seq > s.acked {
				t.Errorf("reading %d was acknowledged and is neither there nor in a gap: %+v", id, gaps)
			}
		}
		if !there[int64(1000+again)] {
			t.Error("a reading after the cut is not there")
		}
		r.stop()
	}
}

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // Next looks before it waits
	return ctx
}
