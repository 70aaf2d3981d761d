package buffer

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// workloads are what a recorded process does. It says on its standard output
// what the world knows; see said.
func workloads() map[string]func(*teller) {
	all := workloadsThatRoll()
	maps.Copy(all, map[string]func(*teller){
		"commits": func(w *teller) {
			w.begin()
			for i := range 12 {
				w.accept(reading.Normal, 100)
				w.deliver("cloud", i%3)
			}
		},
		"clean ends": func(w *teller) {
			for i := range 4 {
				w.begin()
				w.accept(reading.Lane(i%int(reading.Lanes)), 3000)
				w.deliver("cloud", i%2)
				w.end()
			}
		},
		"cursors": func(w *teller) {
			w.begin()
			for range 3 {
				w.accept(reading.Normal, 100)
			}
			w.deliver("cloud", 2)
			w.deliver("archive", 1)
			w.savedCursors() // no commit comes that could carry them
			w.deliver("cloud", 1)
			w.end()
		},
		"notes": func(w *teller) {
			w.begin()
			for i := range 6 {
				w.accept(reading.Normal, 100, "a", "b")
				w.accept(reading.Alarm, 100, "a", fmt.Sprint("c", i))
				w.forget("b")
			}
			w.deliver("cloud", 3)
			w.end()
			w.begin()
			w.accept(reading.Normal, 100, "b")
		},
		"quarantine": func(w *teller) {
			w.begin()
			for range 4 {
				w.accept(reading.Normal, 500)
			}
			w.quarantine("cloud")
			w.deliver("cloud", 1)
			w.quarantine("archive")
			w.accept(reading.Bulk, 100)
		},
	})
	return all
}

// workloadsThatRoll go on into further segments.
func workloadsThatRoll() map[string]func(*teller) {
	return map[string]func(*teller){
		"recycling": func(w *teller) { w.fill(9, func(i int) { w.deliver("cloud", 1) }, reading.Normal) },
		"eviction":  func(w *teller) { w.fill(9, func(int) {}, reading.Normal) },
		"eviction of lanes": func(w *teller) {
			w.fill(14, func(i int) {
				w.accept(reading.Alarm, 100, "a")
				w.deliver("cloud", i%2)
			}, reading.Normal, reading.Bulk)
		},
		"merging": func(w *teller) {
			w.begin()
			full := w.record + segmentSize/smallBlock*9/8
			for w.record < full {
				w.acceptAlike(smallBlock * 7 / 8)
			}
			for range 4 {
				w.accept(reading.Normal, maxAcceptText-100)
			}
			w.merged()
			w.deliver("cloud", 3)
		},
	}
}

// TestPowerCutWorkload is the process that is recorded. It ends without closing
// the buffer unless the workload does.
func TestPowerCutWorkload(t *testing.T) {
	dir, name := os.Getenv("TIDEGATE_POWERCUT_DIR"), os.Getenv("TIDEGATE_POWERCUT_WORKLOAD")
	if dir == "" {
		t.Skip("runs under TestPowerCutLosesNothingAcknowledged")
	}
	id, err := strconv.ParseInt(os.Getenv("TIDEGATE_POWERCUT_ID"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	workloads()[name](&teller{t: t, dir: dir, id: id})
	os.Exit(0)
}

// teller drives a buffer and says what the world learns of it.
type teller struct {
	*running
	t   *testing.T
	dir string
	id  int64 // of the last reading
}

// say writes one line with one call.
func (w *teller) say(words ...any) { fmt.Fprintln(os.Stdout, words...) }

func (w *teller) begin() {
	w.running = start(w.t, w.dir, nil)
	words := []any{"begun"}
	err := w.Notes(w.t.Context(), "door/", func(n reading.Note) error {
		words = append(words, n.Key, string(n.Value))
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.say(words...)
	for _, sink := range []string{"cloud", "archive"} {
		w.Cursor(sink)
	}
}

func (w *teller) end() { w.stop() }

// accept hands over one reading of about so many bytes, which carries its id as
// its time, and notes the id under the keys.
func (w *teller) accept(lane reading.Lane, bytes int, keys ...string) {
	w.id++
	rd := noise("d", int(w.id), bytes)
	rd.Lane = lane
	w.acceptOne(rd, keys...)
}

// acceptAlike hands over a reading that takes little room beside others like it.
func (w *teller) acceptAlike(bytes int) {
	w.id++
	w.acceptOne(noise("alike", 0, bytes))
}

func (w *teller) acceptOne(rd reading.Reading, keys ...string) {
	rd.Time = w.id
	var notes []reading.Note
	for _, k := range keys {
		notes = append(notes, note("door/"+k, fmt.Sprint(w.id)))
	}
	w.take([]reading.Reading{rd}, notes)
	w.say("took", w.id, int(rd.Lane), w.last(rd.Lane))
}

// last is the number of the last reading of the lane. Nobody else accepts
// readings, and gaps go into records of their own.
func (w *teller) last(lane reading.Lane) uint64 {
	return w.running.Buffer.next[lane] - 1
}

func (w *teller) forget(key string) { w.take(nil, []reading.Note{forget("door/" + key)}) }

// take says which notes go along before they can be there, and that they are
// there when they must be.
func (w *teller) take(rs []reading.Reading, notes []reading.Note) {
	for _, n := range notes {
		w.say("noting", n.Key, string(n.Value))
	}
	receipt, err := w.Accept(w.t.Context(), rs, notes...)
	if err == nil {
		err = receipt.Wait(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range notes {
		w.say("noted", n.Key, string(n.Value))
	}
}

// deliver takes so many times what the sink gets next, and acknowledges it.
func (w *teller) deliver(sink string, times int) {
	for c := w.Cursor(sink); times > 0; times-- {
		blocks, err := c.Next(ended(), reading.AllLanes, 1)
		if err != nil {
			return // it has everything
		}
		for _, b := range blocks {
			for k, rd := range decode(w.t, b) {
				w.say("gave", b.Epoch, int(b.Lane), b.First+uint64(k), rd.Time)
			}
			w.say("acked", sink, int(b.Lane), b.First, b.Last())
			c.Ack(b.Lane, b.First, b.Last())
		}
	}
}

// quarantine sets the next block aside that the sink gets.
func (w *teller) quarantine(sink string) {
	c := w.Cursor(sink)
	for _, b := range w.next(c, 1) {
		if err := w.Quarantine(sink, b, "refused"); err != nil {
			w.t.Fatal(err)
		}
		w.say("aside", sink, int(b.Lane), b.First)
		c.Ack(b.Lane, b.First, b.Last())
	}
}

// savedCursors waits until state.db has the cursors.
func (w *teller) savedCursors() {
	w.eventually(func() bool {
		n := 0
		err := each(w.state, bucketCursors, func([]byte, [reading.Lanes]ranges) error { n++; return nil })
		return err == nil && n == 2
	})
}

// merged waits until a segment was merged, if one ever is: not when a sink has
// part of it.
func (w *teller) merged() {
	patience := time.After(2 * time.Second)
	for {
		if slices.ContainsFunc(w.index.all(), func(s segmentInfo) bool { return s.Size < segmentSize }) {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-patience:
			return
		}
	}
}

// fill accepts readings that take half a segment each, and lets then happen
// after each.
func (w *teller) fill(n int, then func(i int), lanes ...reading.Lane) {
	w.begin()
	for i := range n {
		w.accept(lanes[i%len(lanes)], maxAcceptText-100)
		then(i)
	}
}
