package api

import (
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

var boiler = url.Values{"device": {"boiler"}, "metric": {"temp"}, "unit": {"Cel"}}

func with(form url.Values, pairs ...string) url.Values {
	more := url.Values{}
	for k, v := range form {
		more[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		more.Set(pairs[i], pairs[i+1])
	}
	return more
}

const noon = int64(1788220800000) // in milliseconds

func TestFewReadingsAreShownAsTheyAre(t *testing.T) {
	s := newShore(t)
	for i := range int64(5) {
		r := temp((noon+i*1000)*1e6, reading.Float(20+float64(i)/2))
		if i == 3 {
			r.Flags = reading.Bad
		}
		s.take(r, reading.Reading{Device: "boiler", Metric: "temp", Unit: "K", Time: r.Time, Value: reading.Float(300)})
	}
	a := s.history(boiler)
	if a.Readings != 5 || a.Width != 0 || len(a.Points) != 5 || a.Kind != "float" || a.Next != "" || a.Earliest != noon {
		t.Fatalf("%+v", a)
	}
	for i, p := range a.Points {
		if p.T != noon+int64(i)*1000 || p.V != 20+float64(i)/2 || (p.Q == 2) != (i == 3) {
			t.Errorf("point %d: %+v", i, p)
		}
	}
	a = s.history(with(boiler, "from", fmt.Sprint(noon+1000), "to", fmt.Sprint(noon+3000)))
	if len(a.Points) != 2 || a.Points[0].V != 20.5 {
		t.Errorf("from and to: %+v", a.Points)
	}
	if a = s.history(with(boiler, "unit", "")); a.Readings != 0 || a.Points == nil || a.Texts == nil {
		t.Errorf("no such series: %+v", a)
	}
}

// A second's spike in a day is in the answer, however few points that has.
func TestPeaksAreNotLost(t *testing.T) {
	s := newShore(t)
	var rs []reading.Reading
	for i := range int64(20_000) {
		v := 20 + math.Sin(float64(i)/700)
		if i == 12_345 {
			v = 99.5
		}
		rs = append(rs, temp((noon+i*1000)*1e6, reading.Float(v)))
	}
	s.take(rs...)
	a := s.history(with(boiler, "points", "50"))
	n, most := 0.0, 0.0
	for i, p := range a.Points {
		n, most = n+p.N, max(most, p.Max)
		if p.Min > p.Mean || p.Mean > p.Max || i > 0 && p.T <= a.Points[i-1].End {
			t.Errorf("point %d: %+v", i, p)
		}
	}
	if len(a.Points) > 50 || len(a.Points) < 20 || n != 20_000 || most != 99.5 || a.Every < 1000 || a.Every > 1100 {
		t.Errorf("%d points of %v readings, at most %v, every %d ms", len(a.Points), n, most, a.Every)
	}
}

func TestHistorySaysWhatIsWrongWithIt(t *testing.T) {
	s := newShore(t)
	at := noon
	run := func(n int, flags reading.Flags) {
		var rs []reading.Reading
		for range n {
			at += 1000
			r := temp(at*1e6, reading.Float(1))
			r.Flags = flags
			rs = append(rs, r)
		}
		s.take(rs...)
	}
	s.clock = wire.Unsynced
	run(5, reading.Stamped)
	unsynced := at
	s.clock = wire.Synced
	run(5, reading.Stamped)
	hole := at
	at += 600_000
	run(5, reading.Stamped)
	s.clock = wire.Unsynced
	run(2, 0) // the source's own time
	a := s.history(boiler)
	if want := [][2]int64{{noon + 1000, unsynced}}; !slices.Equal(a.Unsynced, want) {
		t.Errorf("unsynced %v, want %v", a.Unsynced, want)
	}
	if want := [][2]int64{{hole, hole + 601_000}}; !slices.Equal(a.Holes, want) {
		t.Errorf("holes %v, want %v", a.Holes, want)
	}
}

func TestDeclaredLossesOfTheLaneAreShown(t *testing.T) {
	s := newShore(t)
	bulk := temp(noon*1e6, reading.Float(1))
	bulk.Device, bulk.Lane = "camera", reading.Bulk
	s.take(temp(noon*1e6, reading.Float(1)), temp((noon+5000)*1e6, reading.Float(2)), bulk)
	s.Cursor("cloud")
	if _, err := s.Purge(t.Context(), buffer.Purge{Sink: "cloud"}); err != nil {
		t.Fatal(err)
	}
	a := s.history(boiler)
	if len(a.Gaps) != 1 || a.Gaps[0] != (lossAnswer{noon, noon + 5000, 2, buffer.ReasonPurged}) {
		t.Errorf("%+v", a.Gaps)
	}
	if a = s.history(with(boiler, "from", fmt.Sprint(noon+6000))); len(a.Gaps) != 0 {
		t.Errorf("outside of the time: %+v", a.Gaps)
	}
}

func TestTextsAreShownAsTheyChange(t *testing.T) {
	s := newShore(t)
	long := strings.Repeat("x", 1000)
	for i, v := range []reading.Value{
		reading.String("idle"), reading.String("idle"), reading.String("running"), reading.Float(math.NaN()),
		reading.String("idle"), reading.Float(3), reading.String("idle"), reading.Bytes("\xff\x00"), reading.String("\xff" + long),
	} {
		s.take(temp((noon+int64(i)*1000)*1e6, v))
	}
	a := s.history(boiler)
	var got []string
	for _, x := range a.Texts {
		if len(x.Text) > 20 {
			x.Text = x.Text[:6]
		}
		got = append(got, fmt.Sprintf("%d-%d %dx%s", x.T-noon, max(x.End-noon, 0), x.N, x.Text))
	}
	want := []string{"0-1000 2xidle", "2000-0 1xrunning", "3000-0 1xNaN", "4000-0 1xidle", "6000-0 1xidle", "7000-0 1x2 bytes", "8000-0 1x�xxx"}
	if !slices.Equal(got, want) || len(a.Points) != 1 || a.Kind != "string" || a.Readings != 9 {
		t.Errorf("%q, want %q; %+v", got, want, a.Points)
	}
}

// More texts than an answer has come on the next pages, each once.
func TestTextsGoOnOnTheNextPage(t *testing.T) {
	s := newShore(t)
	const n = 2*mostTexts + 7
	var rs []reading.Reading
	for i := range int64(n) {
		rs = append(rs, temp((noon+i)*1e6, reading.String(fmt.Sprint("state ", i))))
	}
	s.take(rs...)
	form, next := boiler, n-1
	for pages := 0; ; pages++ {
		a := s.history(form)
		for _, x := range slices.Backward(a.Texts) {
			if x.Text != fmt.Sprint("state ", next) {
				t.Fatalf("%q, want number %d", x.Text, next)
			}
			next--
		}
		if a.Next == "" {
			break
		}
		if a.Until == 0 || pages > 3 {
			t.Fatalf("page %d: %+v", pages, a.historyAnswer)
		}
		form = with(boiler, "after", string(a.Next))
	}
	if next != -1 {
		t.Errorf("%d are missing", next+1)
	}
}

func TestNamesWithStarsAreNames(t *testing.T) {
	s := newShore(t)
	for i, name := range []string{"*", "boil*", "boiler"} {
		r := temp(noon*1e6, reading.Float(float64(i)))
		r.Device = name
		s.take(r)
	}
	for i, name := range []string{"*", "boil*", "boiler"} {
		a := s.history(with(boiler, "device", name))
		if a.Readings != 1 || a.Points[0].V != float64(i) {
			t.Errorf("%q: %+v", name, a.Points)
		}
	}
}

func TestDamageIsSaidAndTheRestShown(t *testing.T) {
	s := newShore(t)
	for i := range int64(3) {
		s.take(temp((noon+i)*1e6, reading.Float(float64(i))))
	}
	segments, err := filepath.Glob(filepath.Join(s.dir, "*.seg"))
	if err != nil || len(segments) != 1 {
		t.Fatal(segments, err)
	}
	b, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	end := slices.Index(b, 0)
	for i := range b {
		if b[i] != 0 {
			end = i
		}
	}
	f, err := os.OpenFile(segments[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{^b[end/2]}, int64(end/2)); err != nil {
		t.Fatal(err)
	}
	if a := s.history(boiler); a.Readings != 2 || !strings.Contains(a.LeftOut, "left out") {
		t.Errorf("%+v", a.historyAnswer)
	}
	if text := s.ask("/api/v1/history.csv", boiler).Body.String(); !strings.Contains(text, "left out") || strings.Count(text, "\n") != 4 {
		t.Errorf("the copy says nothing of it: %s", text)
	}
}

func TestACopyIsWholeAndReadsBack(t *testing.T) {
	s := newShore(t)
	r := temp(noon*1e6+1_999_999, reading.String("a \"b\", c"))
	r.Flags, r.Lane = reading.Uncertain, reading.Alarm
	s.take(temp(noon*1e6, reading.Float(21.5)), temp((noon+1)*1e6, reading.Int(1<<60)), r)
	w := s.ask("/api/v1/history.csv", boiler)
	rows, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || len(rows) != 4 {
		t.Fatalf("%v: %q", err, rows)
	}
	var got []string
	for _, row := range rows {
		got = append(got, strings.Join(row[:9], "|"))
	}
	slices.Sort(got[1:]) // the lanes of a commit are in no order
	want := []string{
		"time|device|metric|unit|value|kind|quality|clock|lane",
		"2026-09-01T00:00:00.000Z|boiler|temp|Cel|21.5|float|good|synced|normal",
		"2026-09-01T00:00:00.001Z|boiler|temp|Cel|1152921504606846976|int|good|synced|normal",
		"2026-09-01T00:00:00.001Z|boiler|temp|Cel|a \"b\", c|string|uncertain|synced|alarm",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := w.Header().Get("Content-Disposition"); got != "attachment; filename=plant-7_boiler_temp.csv" {
		t.Error(got)
	}
}

func TestOnlySoManyLookAtATime(t *testing.T) {
	s := newShore(t)
	turn := newTurns(2)
	from := func(address string) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.RemoteAddr = address
		return r
	}
	first, err := turn.take(from("192.0.2.1:1000"))
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := turn.take(from("192.0.2.1:2000").WithContext(gone)); err == nil {
		t.Error("one viewer looks twice")
	}
	second, err := turn.take(from("192.0.2.2:1000"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := turn.take(from("[2001:db8::1]:1000").WithContext(gone)); err == nil {
		t.Error("three look")
	}
	waiting := make(chan error)
	go func() {
		done, err := turn.take(from("192.0.2.1:3000"))
		if err == nil {
			done()
		}
		waiting <- err
	}()
	first()
	if err := <-waiting; err != nil {
		t.Errorf("whose turn came: %v", err)
	}
	second()
	w := httptest.NewRecorder()
	later(w, Unavailable(errBusy))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "3" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	r := httptest.NewRequestWithContext(gone, http.MethodGet, "/api/v1/history?"+boiler.Encode(), nil)
	for range 3 * lookers { // none of those who went away keeps a turn
		s.mux.ServeHTTP(httptest.NewRecorder(), r)
	}
	s.history(boiler)
}

func TestBadQueriesAreExplained(t *testing.T) {
	s := newShore(t)
	for query, want := range map[string]string{
		"":                                       `parameter "device" is missing`,
		"device=a":                               `parameter "metric" is missing`,
		"device=a&metric=m&device=b":             "2 times",
		"device=a&metric=m&limit=3":              `no parameter "limit"`,
		"device=a&metric=m&from=today":           "milliseconds since 1970",
		"device=a&metric=m&to=99999999999999999": "milliseconds since 1970",
		"device=a&metric=m&from=5&to=5":          "not before",
		"device=a&metric=m&points=9":             "10 to 2000",
		"device=a&metric=m&points=2001":          "10 to 2000",
		"device=a&metric=m&after=next":           "not a token",
		"device=a&metric=m&after=bwAAAA":         "not a token", // of the other order
	} {
		form, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		w := s.ask("/api/v1/history", form)
		if w.Code != http.StatusBadRequest || !strings.Contains(RefusalOf(w.Body), want) {
			t.Errorf("%q: %d, want 400 with %q", query, w.Code, want)
		}
	}
}

func FuzzHistoryQuery(f *testing.F) {
	f.Add("device=a&metric=m&unit=Cel&from=1&to=2&points=50&after=bwAAAA")
	f.Add("device=*&metric=%2A")
	f.Add("from=-9223372036854775808&device=&metric=&to=0")
	f.Fuzz(func(t *testing.T, query string) {
		form, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		q, err := parseHistory(form)
		if err != nil {
			return
		}
		if q.points < leastPoints || q.points > mostPoints || q.from != 0 && q.to != 0 && q.from >= q.to {
			t.Errorf("%q is %+v", query, q)
		}
		if q.series.Device != form.Get("device") || q.from/millisecond*millisecond != q.from && q.from != 1 {
			t.Errorf("%q is %+v", query, q)
		}
	})
}
