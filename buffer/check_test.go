package buffer

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// checkFolder checks a buffer that nobody has open.
func checkFolder(t *testing.T, dir string) Checked {
	t.Helper()
	c, err := Check(t.Context(), func() (Inventory, error) { return ReadInventory(t.Context(), dir) })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (r *running) take() (Inventory, error) { return r.Inventory(), nil }

// What check says of each accident, before recovery has seen it.
func TestCheckSeesTheAccidents(t *testing.T) {
	want := map[string]string{ // damage, or what is wrong with state.db; "" for nothing
		"bit rot in a block":                    "not what was written/normal 3..3",
		"bit rot in a record's header":          "not what was written/normal 3..3",
		"bit rot in a cursor's mark":            "not what was written/normal 3..3",
		"bit rot in a note":                     "not what was written/normal 4..4",
		"record of a newer version":             "of another version/normal 4..4",
		"state.db is gone":                      "state: /no such file",
		"state.db is empty":                     "state: /no meta page",
		"state.db is a folder":                  "state: ",
		"state.db is overwritten with zeros":    "state: /no meta page",
		"state.db is truncated":                 "state: /in a file of 9000",
		"both meta pages of state.db are bad":   "state: /no meta page",
		"rot in the pages of state.db":          "state: ",
		"state.db of a newer version":           "state: /newer version",
		"entry of state.db that makes no sense": "state: /json",
		"state.db of another gateway":           "not what was written/normal 6..9",
	}
	story := shortStory(t)
	for _, a := range slices.Concat(recordAccidents(), stateAccidents()) {
		if a.happen == nil {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(story)); err != nil {
				t.Fatal(err)
			}
			a.happen(t, dir)
			c := checkFolder(t, dir)
			var said []string
			if c.StateError != "" {
				said = append(said, "state: "+c.StateError)
			}
			for _, d := range c.Damage {
				text := d.What
				if d.Lane != "" {
					text = d.Lane + " " + numberText(d.First) + ".." + numberText(d.Last)
				}
				said = append(said, text)
			}
			got, parts := strings.Join(said, "/"), strings.Split(want[a.name], "/")
			for _, part := range parts {
				if !strings.Contains(got, part) || part == "" && got != "" {
					t.Errorf("check says %q, want %q", got, parts)
				}
			}
		})
	}
}

func TestCheckCountsWhatIsWhole(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1, 2, 3)
	r.accept("a", 4)
	r.stop()
	c := checkFolder(t, dir)
	if c.Segments != 1 || c.Records != 2 || c.Readings != 4 || c.Bytes == 0 || len(c.Damage) != 0 || c.StateError != "" {
		t.Errorf("%+v", c)
	}
}

func TestCheckSaysWhatAMissingOrShortSegmentCosts(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.Cursor("cloud").Ack(reading.Normal, 1, 3)
	for i := range 2*segmentSize/(512<<10) + 4 {
		r.acceptAll(noise("a", i, 512<<10))
	}
	r.stop()
	files := segments(t, dir)
	if err := os.Truncate(files[1], 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	c := checkFolder(t, dir)
	if len(c.Damage) != 4 || c.Damage[0].What != "the file is missing" || c.Damage[1].First != 1 ||
		!strings.Contains(c.Damage[2].What, "at its end") || c.Damage[3].First <= c.Damage[1].Last || c.Damage[3].Lane != "normal" {
		t.Errorf("%+v", c.Damage)
	}
}

// A hole that a gap explains is none, and recovery explains what check sees.
func TestWhatRecoveryDeclaresIsNoDamageAfterEviction(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	for i := 0; r.Stats().Lost == 0; i++ {
		r.acceptAll(noise("a", i, 256<<10))
	}
	r.stop()
	if c := checkFolder(t, dir); len(c.Damage) != 0 {
		t.Errorf("%+v", c.Damage)
	}
}

// Segments come, get smaller and go while others read them: none of that is
// damage, and no reading comes twice or out of its order.
func TestBusyBufferIsReadWithoutAFault(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	busy := make(chan error, 1)
	began := make(chan bool)
	go func() {
		for i := 0; ; i++ {
			rd := noise("a", i, 128<<10)
			rd.Lane = reading.Lane(i % reading.Lanes)
			receipt, err := r.Accept(ctx, []reading.Reading{rd})
			if err == nil {
				err = receipt.Wait(ctx)
			}
			if err != nil {
				busy <- ctx.Err()
				return
			}
			if i == 4*segmentSize/(128<<10) {
				close(began)
			}
		}
	}()
	<-began
	for lost := r.Stats().Lost; r.Stats().Lost < lost+100; {
		c, err := Check(t.Context(), r.take)
		if err != nil || len(c.Damage) != 0 {
			t.Fatalf("%+v, %v", c, err)
		}
		if err := r.CheckState(); err != nil {
			t.Fatal(err)
		}
		r.expectOrder(Query{})
		r.expectOrder(Query{NewestFirst: true})
	}
	cancel()
	if err := <-busy; err == nil {
		t.Error("it was not busy to the end")
	}
}

// expectOrder reads history from end to end: numbers must ascend in each lane,
// or descend.
func (r *running) expectOrder(q Query) {
	r.t.Helper()
	var last [reading.Lanes]uint64
	n := 0
	_, err := r.History(r.t.Context(), q, func(e Entry) error {
		n++
		if seq := last[e.Lane]; seq != 0 && q.NewestFirst != (e.Seq < seq) {
			r.t.Errorf("%s %d after %d", e.Lane, e.Seq, seq)
		}
		last[e.Lane] = e.Seq
		return nil
	})
	if err != nil || n == 0 { // how many depends on how fast the others go
		r.t.Fatalf("%d readings, %v", n, err)
	}
}

// Damage is told of a segment that goes on growing, too.
func TestCheckOfABusyBufferFindsDamage(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1)
	r.accept("a", 2)
	r.accept("a", 3)
	damage(t, segments(t, dir)[0], func(b []byte) []byte { b[recordAt(b, 1)+recordHeader+40] ^= 4; return b })
	value := 3.0
	c, err := Check(t.Context(), func() (Inventory, error) {
		value++
		r.accept("a", value)
		return r.take()
	})
	if err != nil || len(c.Damage) != 2 || c.Damage[1].First != 2 || c.Damage[1].Last != 2 {
		t.Errorf("%+v, %v", c.Damage, err)
	}
}
