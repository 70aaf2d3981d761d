package buffer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// samples returns the values of the series, taken in pages.
func (r *running) samples(q SeriesQuery) (values []float64) {
	r.t.Helper()
	for {
		page, err := r.Series(r.t.Context(), q, func(s Sample) error {
			values = append(values, s.Value.Float())
			return nil
		})
		if err != nil {
			r.t.Fatal(err)
		}
		if page.Next == "" {
			return values
		}
		q.After = page.Next
	}
}

// However small the pages and wherever they end: each reading of the series comes
// once, in order, and no other does.
func TestPagesOfASeriesAreTheWholeInOrder(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.mixed(0, 60)
	rapid.Check(t, func(rt *rapid.T) {
		dev, metric := rapid.IntRange(0, 2).Draw(rt, "device"), rapid.IntRange(0, 5).Draw(rt, "metric")
		q := SeriesQuery{
			Series:      reading.Series{Device: fmt.Sprintf("dev-%d", dev), Metric: fmt.Sprintf("m%d", metric)},
			From:        int64(rapid.IntRange(0, 70).Draw(rt, "from")) * 1e9,
			To:          int64(rapid.IntRange(0, 70).Draw(rt, "to")) * 1e9,
			NewestFirst: rapid.Bool().Draw(rt, "newest"),
			Within:      rapid.SampledFrom([]time.Duration{0, 1, time.Hour}).Draw(rt, "within"),
		}
		var want []float64
		for i := range 60 {
			at := int64(i+1) * 1e9
			if i%2 == dev && i%5 == metric && (q.From == 0 || at >= q.From) && (q.To == 0 || at < q.To) {
				want = append(want, float64(i))
			}
		}
		if q.NewestFirst {
			slices.Reverse(want)
		}
		if got := r.samples(q); !slices.Equal(got, want) {
			rt.Errorf("got %v, want %v", got, want)
		}
	})
}

// A visitor who has had enough gets the reading that he refused once more.
func TestAPageEndsWithinABlockWhereTheVisitorSays(t *testing.T) {
	for _, newest := range []bool{false, true} {
		r := start(t, t.TempDir(), nil)
		r.accept("a", 1, 2, 3, 4, 5)
		r.accept("a", 6, 7)
		enough := errors.New("enough")
		q := SeriesQuery{Series: reading.Series{Device: "a", Metric: "m"}, NewestFirst: newest}
		var got []float64
		for pages := 0; ; pages++ {
			before := len(got)
			page, err := r.Series(t.Context(), q, func(s Sample) error {
				if len(got) == before+2 {
					return enough
				}
				got = append(got, s.Value.Float())
				return nil
			})
			if page.Next == "" || pages > 9 {
				break
			}
			if !errors.Is(err, enough) {
				t.Fatal(err)
			}
			q.After = page.Next
		}
		if newest {
			slices.Reverse(got)
		}
		if want := []float64{1, 2, 3, 4, 5, 6, 7}; !slices.Equal(got, want) {
			t.Errorf("newest first %v: %v", newest, got)
		}
	}
}

func TestNamesOfASeriesAreNoPatterns(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	for i, name := range []string{"*", "a*", "ab", "a"} {
		r.acceptAll(
			reading.Reading{Device: name, Metric: "*", Time: 1, Value: reading.Float(float64(i))},
			reading.Reading{Device: name, Metric: "m", Time: 1, Value: reading.Float(float64(10 + i))},
			reading.Reading{Device: name, Metric: "m", Unit: "*", Time: 1, Value: reading.Float(float64(20 + i))})
	}
	for s, want := range map[reading.Series][]float64{
		{Device: "*", Metric: "*"}: {0}, {Device: "a*", Metric: "*"}: {1}, {Device: "a*", Metric: "m"}: {11},
		{Device: "ab", Metric: "m", Unit: "*"}: {22}, {Device: "a", Metric: "m"}: {13}, {Device: "", Metric: ""}: nil,
	} {
		if got := r.samples(SeriesQuery{Series: s}); !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", s, got, want)
		}
	}
}

func TestASampleSaysHowItCame(t *testing.T) {
	state := wire.Unsynced
	r := start(t, t.TempDir(), func(cfg *Config) { cfg.Clock.State = func() wire.ClockState { return state } })
	r.acceptAll(reading.Reading{Device: "a", Metric: "m", Time: 5, Value: reading.Bool(true), Flags: reading.Bad | reading.Stamped, Lane: reading.Alarm})
	var got []Sample
	page, err := r.Series(t.Context(), SeriesQuery{Series: reading.Series{Device: "a", Metric: "m"}}, func(s Sample) error {
		got = append(got, s)
		return nil
	})
	want := []Sample{{5, reading.Bool(true), reading.Bad | reading.Stamped, reading.Alarm, wire.Unsynced, r.epoch, 1}}
	if err != nil || !slices.Equal(got, want) || page.Reached != 5 || r.Earliest() != 5 {
		t.Errorf("%+v, %+v, %v; earliest %d", got, page, err, r.Earliest())
	}
}

func TestWhatCannotBeReadOfASeriesIsSaid(t *testing.T) {
	for name, place := range map[string]func([]byte) int{
		"in the middle": func(b []byte) int { return recordAt(b, 1) + recordHeader + 40 },
		"at the end":    func(b []byte) int { return recordAt(b, 2) + recordHeader + 40 },
	} {
		for _, newest := range []bool{false, true} {
			dir := t.TempDir()
			r := start(t, dir, nil)
			r.accept("a", 1)
			r.accept("a", 2)
			r.accept("a", 3)
			damage(t, segments(t, dir)[0], func(b []byte) []byte { b[place(b)] ^= 4; return b })
			n := 0
			_, err := r.Series(t.Context(), SeriesQuery{Series: reading.Series{Device: "a", Metric: "m"}, NewestFirst: newest},
				func(Sample) error { n++; return nil })
			if !errors.Is(err, ErrLeftOut) || n != 2 {
				t.Errorf("%s, newest first %v: %d of 2, %v", name, newest, n, err)
			}
		}
	}
}

// A segment that cannot be opened does not hold up the pages behind it.
func TestAnUnreadableSegmentIsPassedOnce(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.mixed(0, 20)
	path := segments(t, dir)[0]
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // reading a folder fails, even for root
		t.Fatal(err)
	}
	q := SeriesQuery{Series: reading.Series{Device: "dev-1", Metric: "m1"}, Within: 1, NewestFirst: true}
	said := 0
	for pages := 0; ; pages++ {
		page, err := r.Series(t.Context(), q, func(Sample) error { return nil })
		if errors.Is(err, ErrLeftOut) {
			said++
		} else if err != nil {
			t.Fatal(err)
		}
		if q.After = page.Next; q.After == "" {
			break
		}
		if pages > 3 {
			t.Fatal("it gets no further")
		}
	}
	if said != 1 {
		t.Errorf("said %d times", said)
	}
}

func TestASeriesEndsWithItsContext(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.mixed(0, 5)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Series(ended, SeriesQuery{}, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
