package firmwaresim

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestFaultsHaveATextForm(t *testing.T) {
	const all = "split, merge 20%, noise 1%, corrupt 1.5%, drop 0.5%, duplicate 1%, stuck 10%, pause 5%x200ms, clock1970"
	f, err := ParseFaults(all)
	if err != nil {
		t.Fatal(err)
	}
	want := Faults{Split: 1, Merge: .2, Noise: .01, Corrupt: .015, Drop: .005, Duplicate: .01, Stuck: .1, Pause: .05,
		PauseFor: 200 * time.Millisecond, Clock1970: true}
	if f != want || f.String() != all {
		t.Errorf("%+v, %q", f, f)
	}
	for text, want := range map[string]string{
		"":                    "",
		" , ":                 "",
		"split,noise   3 %":   "split, noise 3%",
		"pause 100%x1s":       "pause 100%x1s",
		"pause x1s":           "pause 100%x1s",
		"drop 0%":             "",
		"stuck 33.333333333%": "stuck 33.333333333%",
	} {
		f, err := ParseFaults(text)
		if again, err2 := ParseFaults(f.String()); err != nil || err2 != nil || f.String() != want || again != f && want != "" {
			t.Errorf("%q is %q, %v, %v; want %q", text, f, err, err2, want)
		}
	}
	for text, want := range map[string]string{
		"explode":       `"explode" is no fault — hint: there are split,`,
		"noise 101%":    "has no share",
		"noise -1%":     "has no share",
		"noise NaN%":    "has no share",
		"noise 1":       "has no share",
		"noise 1%x2s":   "takes none",
		"pause 5%":      "has no duration",
		"pause 5%xlong": "is no duration",
		"clock1970 5%":  "is no fault",
	} {
		if _, err := ParseFaults(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseFaults(f *testing.F) {
	f.Add("split, merge 20%, pause 5%x200ms, clock1970")
	f.Fuzz(func(t *testing.T, text string) {
		faults, err := ParseFaults(text)
		if err != nil {
			return
		}
		for _, w := range faults.words() {
			if !(*w.share >= 0 && *w.share <= 1) {
				t.Fatalf("%q: %s with a share of %v", text, w.word, *w.share)
			}
		}
		if again, err := ParseFaults(faults.String()); err != nil || again.String() != faults.String() {
			t.Fatalf("%q is %q, which is %q, %v", text, faults, again, err)
		}
	})
}

// passes sends frames 0 to n-1 through the faults.
func passes(faults Faults, seed uint64, n int) (all []byte, writes []string, s *FaultStream) {
	s = faults.Stream(seed, 3)
	take := func(pieces []Piece) {
		for _, p := range pieces {
			all = append(all, p.Bytes...)
			writes = append(writes, fmt.Sprintf("%v %x", p.Pause, p.Bytes))
		}
	}
	for i := range n {
		pieces, _ := s.Frame(frameOf(i))
		take(pieces)
	}
	take(s.Flush())
	return all, writes, s
}

func frameOf(i int) []byte { return fmt.Appendf(nil, "<frame %d>\n", i) }

func TestTheSameSeedMakesTheSameBytes(t *testing.T) {
	faults, err := ParseFaults("split 30%, merge 20%, noise 10%, corrupt 10%, drop 5%, duplicate 10%, pause 5%x200ms")
	if err != nil {
		t.Fatal(err)
	}
	first, writes, s := passes(faults, 1, 1000)
	again, writesAgain, _ := passes(faults, 1, 1000)
	other, _, _ := passes(faults, 2, 1000)
	if !bytes.Equal(first, again) || strings.Join(writes, " ") != strings.Join(writesAgain, " ") {
		t.Error("the same seed made other bytes")
	}
	if bytes.Equal(first, other) {
		t.Error("another seed made the same bytes")
	}
	// Each share is met within what a thousand throws leave open: five sigma.
	c := s.Counts()
	for what, count := range map[string][3]float64{
		"noisy":      {float64(c.Noisy), 1000, .10},
		"dropped":    {float64(c.Dropped), 1000, .05},
		"duplicated": {float64(c.Duplicated), 1000, .95 * .10},
		"merged":     {float64(c.Merged), 1000, .95 * .20},
		"corrupted":  {float64(c.Corrupted), 1000, .95 * .10},
	} {
		mean, variance := count[1]*count[2], count[1]*count[2]*(1-count[2])
		if d := count[0] - mean; d*d > 25*variance {
			t.Errorf("%s: %v times, want about %v", what, count[0], mean)
		}
	}
}

// What only moves the ends of writes changes no byte.
func TestSplitMergeAndPauseKeepEveryByte(t *testing.T) {
	var want []byte
	for i := range 200 {
		want = append(want, frameOf(i)...)
	}
	got, writes, s := passes(Faults{Split: .5, Merge: .5, Pause: .3, PauseFor: time.Second}, 7, 200)
	if !bytes.Equal(got, want) {
		t.Errorf("%q", got)
	}
	c := s.Counts()
	if c.Split == 0 || c.Merged == 0 || c.Paused == 0 {
		t.Errorf("%+v", c)
	}
	paused := 0
	for _, w := range writes {
		if strings.HasPrefix(w, "1s ") {
			paused++
		}
	}
	if uint64(paused) != c.Paused {
		t.Errorf("%d pauses, want %d", paused, c.Paused)
	}
	merged, writes, _ := passes(Faults{Merge: 1}, 7, 20)
	if len(writes) != 3 || !bytes.Equal(merged, want[:len(merged)]) {
		t.Errorf("20 frames in %d writes, want 3 of at most 8 frames", len(writes))
	}
}

func TestCorruptFlipsOneBitOfAFrame(t *testing.T) {
	s := Faults{Corrupt: 1}.Stream(1, 0)
	for i := range 200 {
		frame := frameOf(i)
		pieces, copies := s.Frame(frame)
		bits := 0
		for n, b := range pieces[0].Bytes {
			for d := b ^ frame[n]; d != 0; d &= d - 1 {
				bits++
			}
		}
		if bits != 1 || copies != 1 || len(pieces) != 1 || len(pieces[0].Bytes) != len(frame) {
			t.Fatalf("frame %d: %d bits changed in %q", i, bits, pieces)
		}
	}
}

func TestNoiseIsBetweenFrames(t *testing.T) {
	s := Faults{Noise: 1}.Stream(1, 0)
	for i := range 200 {
		frame := frameOf(i)
		pieces, _ := s.Frame(frame)
		b := pieces[0].Bytes
		if noise := len(b) - len(frame); noise < 1 || noise > maxNoise || !bytes.HasSuffix(b, frame) {
			t.Fatalf("frame %d: %q", i, b)
		}
	}
}

func TestOneMoreFaultDoesNotMoveTheOthers(t *testing.T) {
	dropped := func(f Faults) (which []int) {
		s := f.Stream(5, 0)
		for i := range 500 {
			if _, copies := s.Frame(frameOf(i)); copies == 0 {
				which = append(which, i)
			}
		}
		return which
	}
	alone, among := dropped(Faults{Drop: .1}), dropped(Faults{Drop: .1, Noise: .5, Split: .5, Duplicate: .2, Corrupt: .3})
	if len(alone) == 0 || fmt.Sprint(alone) != fmt.Sprint(among) {
		t.Errorf("dropped %v alone and %v among others", alone, among)
	}
}

func TestStuckValuesAndClocksOf1970(t *testing.T) {
	at := time.UnixMilli(1_800_000_000_000)
	d := NewDevice(1, 0, JSON4, true)
	d.Afflict(Faults{Stuck: 1, Clock1970: true}, 1, 0)
	first := d.Measure(at)
	second := d.Measure(at.Add(1500 * time.Millisecond))
	if !first.At.Equal(time.Unix(0, 0)) || !second.At.Equal(time.UnixMilli(1500)) || second.Seq != 2 {
		t.Errorf("%+v, %+v", first, second)
	}
	second.Seq, second.At = first.Seq, first.At
	if second != first {
		t.Errorf("%+v did not stick to %+v", second, first)
	}
	if got := string(d.Append(nil, at)); !strings.HasPrefix(got, `{"ts":0,"seq":3,`) {
		t.Error(got)
	}
	moving := NewDevice(1, 0, JSON4, true)
	moving.Afflict(Faults{Stuck: .5}, 1, 0)
	stuck := 0
	before := moving.Measure(at)
	for range 1000 {
		m := moving.Measure(at)
		same := m
		same.Seq = before.Seq
		if same == before {
			stuck++
		}
		before = m
	}
	if stuck < 400 || stuck > 600 {
		t.Errorf("%d of 1000 samples repeat the one before, want about half", stuck)
	}
}
