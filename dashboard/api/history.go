package api

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

const (
	// pageTime is how long a request looks for readings, and pageReadings how
	// many it takes at the most.
	pageTime     = time.Second
	pageReadings = 4 << 20
	// mostTexts is how many different texts, one after the other, an answer has
	// at the most, and mostText how many bytes of each.
	mostTexts = 500
	mostText  = 256
	// lookers and copiers are how many requests are answered at a time.
	lookers, copiers = 2, 1
)

// History shows what a series was, and copies it; gateway is what that is called.
func History(b *buffer.Buffer, gateway string) []dashboard.Route {
	return historyWithin(pageTime, b, gateway)
}

func historyWithin(each time.Duration, b *buffer.Buffer, gateway string) []dashboard.Route {
	looking, copying := newTurns(lookers), newTurns(copiers)
	return []dashboard.Route{
		look("GET /api/v1/history", func(w http.ResponseWriter, r *http.Request) {
			q, err := parseHistory(r.URL.Query())
			if err != nil {
				Answer(w, nil, err)
				return
			}
			done, err := looking.take(r)
			if err != nil {
				later(w, err)
				return
			}
			defer done()
			h := newHistory(q, each)
			err = h.read(r, b)
			if r.Context().Err() == nil {
				Answer(w, h.answer(b), err)
			}
		}),
		look("GET /api/v1/history.csv", func(w http.ResponseWriter, r *http.Request) {
			q, err := parseHistory(r.URL.Query())
			if err != nil {
				Answer(w, nil, err)
				return
			}
			done, err := copying.take(r)
			if err != nil {
				later(w, err)
				return
			}
			defer done()
			err = Download(w, copyName(gateway, q.series), "text/csv; charset=utf-8; header=present", func(out io.Writer) error {
				return copyHistory(r.Context(), out, b, q)
			})
			if err != nil {
				CutOff()
			}
		}),
	}
}

// later answers that it is somebody else's turn.
func later(w http.ResponseWriter, err error) {
	w.Header().Set("Retry-After", strconv.Itoa(int(patience.Seconds())))
	Answer(w, nil, err)
}

// history is one page of a series, as it is read: the newest reading first.
type history struct {
	query    historyQuery
	within   time.Duration
	numbers  series
	texts    []text // the newest first
	spoke    bool   // the last reading was a text
	kind     string // of the newest reading
	readings int
	rhythm   rhythm
	unsynced marks
	lanes    [reading.Lanes]bool // in which readings of the series are
	page     buffer.SeriesPage
	leftOut  string
}

// text is one that came again and again; times are in nanoseconds since 1970.
type text struct {
	start, end int64
	count      uint64
	quality    reading.Flags
	text       string
}

func newHistory(q historyQuery, within time.Duration) *history {
	return &history{query: q, within: within, numbers: series{most: q.points}}
}

// errEnough ends a page before its time is over.
var errEnough = errors.New("enough for one answer")

func (h *history) read(r *http.Request, b *buffer.Buffer) (err error) {
	h.page, err = b.Series(r.Context(), buffer.SeriesQuery{
		Series: h.query.series, From: h.query.from, To: h.query.to, After: h.query.after,
		NewestFirst: true, Within: h.within,
	}, h.add)
	switch {
	case errors.Is(err, errEnough):
		return nil
	case errors.Is(err, buffer.ErrLeftOut):
		h.leftOut = err.Error()
		return nil
	case errors.Is(err, buffer.ErrToken):
		return Invalid(err)
	}
	return err
}

// add takes the next older reading.
func (h *history) add(s buffer.Sample) error {
	number, isNumber := s.Value.Number()
	isNumber = isNumber && !math.IsNaN(number) && !math.IsInf(number, 0)
	if h.readings == pageReadings || !isNumber && !h.addText(s) {
		return errEnough
	}
	if h.readings == 0 {
		_, h.kind = CSVValue(s.Value)
	}
	h.readings++
	h.spoke = !isNumber
	if isNumber {
		h.numbers.add(s.Time, number, s.Flags.Quality())
	}
	h.rhythm.add(s.Time)
	h.unsynced.add(s.Time, s.Clock != wire.Synced && s.Flags&reading.Stamped != 0)
	h.lanes[s.Lane] = true
	return nil
}

// addText takes the next older text; false when there is no room for it.
func (h *history) addText(s buffer.Sample) bool {
	words := plain(s.Value)
	if n := len(h.texts); n > 0 && h.spoke && h.texts[n-1].text == words {
		last := &h.texts[n-1]
		last.start, last.end = min(last.start, s.Time), max(last.end, s.Time)
		last.count++
		last.quality = max(last.quality, s.Flags.Quality())
		return true
	}
	if len(h.texts) == mostTexts {
		return false
	}
	h.texts = append(h.texts, text{s.Time, s.Time, 1, s.Flags.Quality(), words})
	return true
}

// plain is the value in words that a page can show.
func plain(v reading.Value) string {
	if v.Kind() == reading.KindBytes {
		return strconv.Itoa(len(v.Text())) + " bytes"
	}
	words := v.String()
	if len(words) > mostText {
		words = words[:mostText] + "…"
	}
	return strings.ToValidUTF8(words, "�")
}

// historyAnswer is what GET /api/v1/history says; docs/reference/api.md explains it.
// Times are in Unix milliseconds.
type historyAnswer struct {
	Device   string       `json:"device"`
	Metric   string       `json:"metric"`
	Unit     string       `json:"unit,omitempty"`
	Kind     string       `json:"kind,omitempty"`
	Readings int          `json:"readings"`
	Earliest int64        `json:"earliest,omitempty"`
	Every    int64        `json:"every,omitempty"`
	Width    int64        `json:"width"`
	Points   []pointText  `json:"points"`
	Texts    []textAnswer `json:"texts"`
	Gaps     []lossAnswer `json:"gaps"`
	Holes    []span       `json:"holes"`
	Unsynced []span       `json:"unsynced"`
	Until    int64        `json:"until,omitempty"`
	Next     buffer.Token `json:"next,omitempty"`
	LeftOut  string       `json:"left_out,omitempty"`
}

// lossAnswer is a gap that the gateway declared.
type lossAnswer struct {
	From     int64  `json:"from"`
	To       int64  `json:"to"`
	Readings uint64 `json:"readings"`
	Why      string `json:"why"`
}

// textAnswer is a text that came so many times in a row.
type textAnswer struct {
	T    int64         `json:"t"`
	End  int64         `json:"end,omitempty"`
	N    uint64        `json:"n"`
	Text string        `json:"text"`
	Q    reading.Flags `json:"q,omitempty"`
}

// span is written [from, to], in milliseconds.
type span Range

// MarshalJSON implements json.Marshaler.
func (s span) MarshalJSON() ([]byte, error) {
	return json.Marshal([2]int64{toMillis(s.From), toMillis(s.To)})
}

func (h *history) answer(b *buffer.Buffer) historyAnswer {
	points := h.numbers.ascending()
	usual := h.rhythm.usual()
	unsynced := h.unsynced.ranges
	sort.Slice(unsynced, func(i, k int) bool { return unsynced[i].From < unsynced[k].From })
	a := historyAnswer{
		Device: h.query.series.Device, Metric: h.query.series.Metric, Unit: h.query.series.Unit,
		Kind: h.kind, Readings: h.readings,
		Earliest: toMillis(b.Earliest()), Every: usual / millisecond, Width: h.numbers.width / millisecond,
		Points: make([]pointText, 0, len(points)), Texts: make([]textAnswer, 0, len(h.texts)),
		Gaps: h.gaps(b), Holes: spans(holes(points, usual)), Unsynced: spans(unsynced),
		Next: h.page.Next, LeftOut: h.leftOut,
	}
	for _, p := range points {
		a.Points = append(a.Points, pointText(p))
	}
	for _, t := range slices.Backward(h.texts) {
		end := toMillis(t.end)
		if t.start == t.end {
			end = 0
		}
		a.Texts = append(a.Texts, textAnswer{toMillis(t.start), end, t.count, t.text, t.quality})
	}
	if h.page.Next != "" {
		a.Until = toMillis(h.page.Reached)
	}
	return a
}

func spans(ranges []Range) []span {
	out := make([]span, 0, len(ranges))
	for _, r := range ranges {
		out = append(out, span(r))
	}
	return out
}

// gaps are the losses declared in the lanes that the series is in, as far as their
// times are known and were asked for.
func (h *history) gaps(b *buffer.Buffer) []lossAnswer {
	found := []lossAnswer{}
	gaps, err := b.Gaps()
	if err != nil && h.leftOut == "" {
		h.leftOut = err.Error()
	}
	q := buffer.Query{From: h.query.from, To: h.query.to}
	for _, g := range gaps {
		lane, _ := reading.ParseLane(g.Lane)
		if h.lanes[lane] && (g.From != 0 || g.To != 0) && q.Includes(g) {
			found = append(found, lossAnswer{toMillis(g.From), toMillis(g.To), g.Count, g.Reason})
		}
	}
	sort.Slice(found, func(i, k int) bool { return found[i].From < found[k].From })
	return found
}

// pointText is a point as JSON: {"t","v"} for a reading, and more for several.
type pointText Point

// MarshalJSON implements json.Marshaler. A value is a number that JSON has.
func (t pointText) MarshalJSON() ([]byte, error) {
	p := Point(t)
	out := make([]byte, 0, 128)
	number := func(name string, x float64) {
		out = strconv.AppendFloat(append(out, name...), x, 'g', -1, 64)
	}
	out = strconv.AppendInt(append(out, `{"t":`...), toMillis(p.Start), 10)
	if p.Count == 1 {
		number(`,"v":`, p.First)
	} else {
		out = strconv.AppendInt(append(out, `,"end":`...), toMillis(p.End), 10)
		out = strconv.AppendUint(append(out, `,"n":`...), p.Count, 10)
		number(`,"first":`, p.First)
		number(`,"min":`, p.Min)
		number(`,"mean":`, p.Mean())
		number(`,"max":`, p.Max)
		number(`,"last":`, p.Last)
	}
	if p.Quality != 0 {
		out = strconv.AppendUint(append(out, `,"q":`...), uint64(p.Quality), 10)
	}
	return append(out, '}'), nil
}
