package buffer

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// said is what the world knows of the processes that worked on a folder.
type said struct {
	took  []taken                          // readings that were acknowledged
	gave  map[name]int64                   // readings that were handed out, by full name
	acked map[string][reading.Lanes]ranges // what the sinks have
	aside map[string]bool                  // first readings of blocks that were set aside, and for whom
	notes map[string]string                // what was noted
	next  map[string]string                // what a commit under way will note
	lines int
}

// taken is a reading that was acknowledged, by its id and its number.
type taken struct {
	id   int64
	lane reading.Lane
	seq  uint64
}

// name is the full name of a reading.
type name struct {
	epoch uint64
	lane  reading.Lane
	seq   uint64
}

func newSaid() said {
	return said{gave: map[name]int64{}, aside: map[string]bool{}, acked: map[string][reading.Lanes]ranges{"cloud": {}, "archive": {}},
		notes: map[string]string{}, next: map[string]string{}}
}

func (s *said) clone() said {
	c := *s
	c.took, c.aside = slices.Clone(s.took), maps.Clone(s.aside)
	c.gave, c.notes, c.next = maps.Clone(s.gave), maps.Clone(s.notes), maps.Clone(s.next)
	c.acked = map[string][reading.Lanes]ranges{}
	for sink, lanes := range s.acked {
		for i := range lanes {
			lanes[i] = slices.Clone(lanes[i])
		}
		c.acked[sink] = lanes
	}
	return c
}

// add takes a line; see teller for who says it when.
func (s *said) add(line string) {
	var kind, word, value string
	var n name
	var id int64
	var last uint64
	s.lines++
	line = strings.TrimSpace(line)
	fmt.Sscan(line, &kind)
	switch kind {
	case "begun": // what the last process left in doubt is decided
		clear(s.notes)
		clear(s.next)
		for words := strings.Fields(line)[1:]; len(words) > 1; words = words[2:] {
			s.notes[words[0]] = words[1]
		}
	case "took":
		fmt.Sscan(line, &kind, &id, &n.lane, &n.seq)
		s.took = append(s.took, taken{id, n.lane, n.seq})
	case "gave":
		fmt.Sscan(line, &kind, &n.epoch, &n.lane, &n.seq, &id)
		s.gave[n] = id
	case "acked":
		fmt.Sscan(line, &kind, &word, &n.lane, &n.seq, &last)
		lanes := s.acked[word]
		lanes[n.lane] = lanes[n.lane].add(n.seq, last)
		s.acked[word] = lanes
	case "aside":
		s.aside[line] = true
	case "noting":
		fmt.Sscan(line, &kind, &word, &value)
		s.next[word] = value
	case "noted":
		fmt.Sscan(line, &kind, &word, &value)
		if s.notes[word] = value; value == "" {
			delete(s.notes, word)
		}
		delete(s.next, word)
	}
}

// check opens what a cut left: it starts; everything acknowledged is there for
// each sink that does not have it, or declared to have been evicted or set aside;
// no number that a sink has seen is another's; and what doors noted is there with
// the readings that it came with. A second start finds the same.
func (s *said) check(t *testing.T, dir string) {
	t.Run("first start", func(t *testing.T) {
		r := s.start(t, dir)
		gaps, err := r.Gaps()
		if err != nil {
			t.Fatal(err)
		}
		there := map[int64]bool{}
		for sink := range s.acked {
			maps.Copy(there, s.checkSink(r, sink, gaps))
		}
		s.checkNotes(r, there)
		s.checkAside(r)
		r.stop()
	})
	t.Run("second start", func(t *testing.T) {
		r := s.start(t, dir)
		s.checkNotes(r, s.read(r, "another"))
		s.checkAside(r)
		r.stop()
	})
	if broken, _ := filepath.Glob(filepath.Join(dir, "*broken*")); len(broken) > 0 {
		t.Errorf("a cut damaged %v", broken)
	}
}

// start opens the buffer, which must go on taking readings.
func (s *said) start(t *testing.T, dir string) *running {
	t.Helper()
	b, err := Open(Config{Dir: dir, MaxBytes: MinBytes, Clock: testClock()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("it does not start: %v", err)
	}
	r := runBuffer(t, b)
	r.acceptAll(reading.Reading{Device: "d", Metric: "after", Time: 1e9, Value: reading.Int(1)})
	return r
}

// read returns the ids of what the cursor gets, and checks their names.
func (s *said) read(r *running, cursor string) map[int64]bool {
	there, c := map[int64]bool{}, r.Cursor(cursor)
	for blocks, err := c.Next(ended(), reading.AllLanes, 1<<20); err == nil; blocks, err = c.Next(ended(), reading.AllLanes, 1<<20) {
		for _, blk := range blocks {
			for k, rd := range decode(r.t, blk) {
				n := name{blk.Epoch, blk.Lane, blk.First + uint64(k)}
				if id, seen := s.gave[n]; seen && id != rd.Time {
					r.t.Errorf("%v was handed out as reading %d and is reading %d now", n, id, rd.Time)
				}
				there[rd.Time] = true
			}
		}
	}
	if !there[1e9] {
		r.t.Error("a reading after the cut is not there")
	}
	return there
}

func (s *said) checkSink(r *running, sink string, gaps []Gap) (there map[int64]bool) {
	there = s.read(r, sink)
	for _, took := range s.took {
		declared := slices.ContainsFunc(gaps, func(g Gap) bool {
			return g.covers(Gap{Lane: took.lane.String(), First: took.seq, Last: took.seq, Sinks: []string{sink}}) &&
				(g.Reason == ReasonEvicted || g.Reason == ReasonQuarantined)
		})
		if !there[took.id] && !declared && !s.acked[sink][took.lane].has(took.seq, took.seq) {
			r.t.Errorf("reading %d, %s %d, was acknowledged, and %s neither has it nor gets it nor was told: %+v", took.id, took.lane, took.seq, sink, gaps)
		}
	}
	return there
}

// checkNotes wants what was noted, or what the commit under way would have noted
// if its reading is there.
func (s *said) checkNotes(r *running, there map[int64]bool) {
	got := map[string]string{}
	if err := r.Notes(r.t.Context(), "door/", func(n reading.Note) error { got[n.Key] = string(n.Value); return nil }); err != nil {
		r.t.Fatal(err)
	}
	after := maps.Clone(s.notes)
	maps.Copy(after, s.next)
	maps.DeleteFunc(after, func(_, value string) bool { return value == "" })
	id := int64(0)
	for _, value := range s.next {
		fmt.Sscan(value, &id)
	}
	switch {
	case maps.Equal(got, s.notes) && (id == 0 || !there[id] || maps.Equal(got, after)):
	case maps.Equal(got, after) && (id == 0 || there[id]):
	default:
		r.t.Errorf("notes %v; want %v, or %v with reading %d, which is there: %v", got, s.notes, after, id, there[id])
	}
}

func (s *said) checkAside(r *running) {
	all, err := r.Quarantined()
	if err != nil {
		r.t.Fatal(err)
	}
	missing := maps.Clone(s.aside)
	for _, q := range all {
		b, _, err := wire.ParseBlock(q.Raw)
		if err != nil {
			r.t.Fatal(err)
		}
		delete(missing, fmt.Sprintf("aside %s %d %d", q.Sink, b.Lane, b.First))
	}
	if len(missing) > 0 {
		r.t.Errorf("set aside and gone: %v", missing)
	}
}

// ended is for a Next that looks and does not wait.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
