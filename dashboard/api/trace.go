package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// Ways is what a gateway knows of the ways that readings go.
type Ways interface {
	// DoorsOf names the doors that have brought readings of the device since the
	// start.
	DoorsOf(device string) []string
	// WaysOut are the doors out.
	WaysOut() []WayOut
}

// WayOut is one door out.
type WayOut struct {
	Name, Kind string
	Cursor     *buffer.Cursor
	Forwarder  *uplink.Forwarder
	// Why says why what waits in the lane is not on its way; "" when it is its
	// turn soon.
	Why func(reading.Lane) string
}

// Traced is where a reading has been. Times are Unix milliseconds, zero for what
// is not known.
type Traced struct {
	Device  string `json:"device"`
	Metric  string `json:"metric"`
	Unit    string `json:"unit,omitempty"`
	Value   any    `json:"value"`
	Quality string `json:"quality,omitempty"`
	// Epoch (hexadecimal), Lane and Seq name the reading for ever.
	Epoch string `json:"epoch"`
	Lane  string `json:"lane"`
	Seq   uint64 `json:"seq"`
	// Now is the gateway's clock.
	Now int64 `json:"now"`
	// Measured is the reading's own time; Stamped says that the gateway gave it.
	Measured int64 `json:"measured"`
	Stamped  bool  `json:"stamped,omitempty"`
	// Doors are those that the device's readings came in by since the start: one,
	// as a rule.
	Doors []string `json:"doors"`
	// Received is when it came: between Received and ReceivedBy, if those differ.
	Received   int64 `json:"received,omitempty"`
	ReceivedBy int64 `json:"received_by,omitempty"`
	// Stored is when it was on flash, Took milliseconds after Received.
	Stored int64   `json:"stored,omitempty"`
	Took   float64 `json:"took,omitempty"`
	// StoredBefore, in place of those four, is a time at which it was on flash for
	// certain: the gateway does not remember more.
	StoredBefore int64 `json:"stored_before,omitempty"`
	// Links are its ways out.
	Links []Passage `json:"links"`
	// Steps say all of it in words.
	Steps []Step `json:"steps"`
}

// Step is one step of a reading's way, in words. In Text, {n} stands for the time n
// in Unix milliseconds, which whoever shows it puts into his own zone.
type Step struct {
	// Mood is ok for what is done, idle for what is not yet, and bad.
	Mood  string `json:"mood"`
	Title string `json:"title"`
	Text  string `json:"text"`
	// Why is what the other side, or the link, said.
	Why string `json:"why,omitempty"`
}

// Passage is where a reading is with one door out.
type Passage struct {
	Link string `json:"link"`
	Kind string `json:"kind"`
	// State is acked, sent (and not answered yet), waiting, refused (and in
	// quarantine), lost, or empty: the encoding has no words for it.
	State string `json:"state"`
	// Sent is when the message was tried first and Tried when it was last, which
	// was try number Tries. It has Bytes and so many Others readings.
	Sent   int64 `json:"sent,omitempty"`
	Tried  int64 `json:"tried,omitempty"`
	Tries  int   `json:"tries,omitempty"`
	Bytes  int   `json:"bytes,omitempty"`
	Others int   `json:"others,omitempty"`
	// Acked is when the other side took custody. AckedBefore, in its place, is a
	// time at which it had for certain.
	Acked       int64 `json:"acked,omitempty"`
	AckedBefore int64 `json:"acked_before,omitempty"`
	// Ahead is how many older readings of its lane wait as well, of one that waits.
	Ahead uint64 `json:"ahead,omitempty"`
	// Why says why it waits, was refused or is lost.
	Why string `json:"why,omitempty"`
	// Block names the block in quarantine that has it.
	Block string `json:"block,omitempty"`
}

// traceTime bounds the search for a reading in the journal.
const traceTime = 10 * time.Second

// Trace tells where a reading is.
func Trace(b *buffer.Buffer, ways Ways) []dashboard.Route {
	searching := newTurns(lookers)
	return []dashboard.Route{look("GET /api/v1/trace", func(w http.ResponseWriter, r *http.Request) {
		done, err := searching.take(r)
		if err != nil {
			later(w, err)
			return
		}
		defer done()
		e, err := sought(r.Context(), b, r.URL.Query())
		if err != nil {
			Answer(w, nil, err)
			return
		}
		t, err := traced(b, ways, e)
		Answer(w, t, err)
	})}
}

// sought finds the reading that is asked for.
func sought(ctx context.Context, b *buffer.Buffer, q url.Values) (e buffer.Entry, err error) {
	ctx, cancel := context.WithTimeout(ctx, traceTime)
	defer cancel()
	device, metric := q.Get("device"), q.Get("metric")
	what := fmt.Sprintf("a reading of %q, %q", device, metric)
	switch {
	case q.Has("seq"):
		lane, known := reading.ParseLane(q.Get("lane"))
		seq, bad := strconv.ParseUint(q.Get("seq"), 10, 64)
		if !known || bad != nil {
			return e, Invalid(errors.New("lane and seq do not name a reading — hint: take both from an answer"))
		}
		what = fmt.Sprintf("reading %d of lane %s", seq, lane)
		e, err = b.Reading(ctx, lane, seq)
		if epoch := q.Get("epoch"); err == nil && epoch != "" && epoch != epochText(e.Epoch) {
			err = buffer.ErrNotHere
		}
	case device == "" || metric == "":
		return e, Invalid(errors.New("which reading? — hint: name device and metric"))
	default:
		e, err = b.Newest(ctx, device, metric)
	}
	switch {
	case errors.Is(err, buffer.ErrNotHere):
		return e, NotFound(fmt.Errorf("%s is not on flash — hint: has it come since this gateway was set up? What is delivered makes room after a while", what))
	case errors.Is(err, context.DeadlineExceeded):
		return e, Unavailable(fmt.Errorf("%s was not found within %v — hint: it may be far back; \"tidegate buffer peek\" searches for as long as it takes", what, traceTime))
	}
	return e, err
}

func epochText(epoch uint64) string { return fmt.Sprintf("%016x", epoch) }

func traced(b *buffer.Buffer, ways Ways, e buffer.Entry) (Traced, error) {
	t := Traced{
		Device: e.Device, Metric: e.Metric, Unit: e.Unit, Value: dashboard.ValueOf(e.Value), Quality: dashboard.QualityOf(e.Flags),
		Epoch: epochText(e.Epoch), Lane: e.Lane.String(), Seq: e.Seq,
		Now: time.Now().UnixMilli(), Measured: e.Time / int64(time.Millisecond), Stamped: e.Flags&reading.Stamped != 0,
		Doors: append([]string{}, ways.DoorsOf(e.Device)...), Links: []Passage{},
	}
	if c, ok, since := b.Committed(e.Lane, e.Seq); ok {
		t.Received, t.ReceivedBy = c.Came.UnixMilli(), c.Late.UnixMilli()
		t.Stored, t.Took = c.Done.UnixMilli(), float64(c.Done.Sub(c.Came).Microseconds())/1000
	} else {
		t.StoredBefore = since.UnixMilli()
	}
	for _, way := range ways.WaysOut() {
		p, err := way.Passage(b, e)
		if err != nil {
			return t, err
		}
		t.Links = append(t.Links, p)
	}
	t.Steps = t.steps()
	return t, nil
}

// Passage says where the reading is with the door out. The cursor is asked before
// the forwarder: what is acknowledged in between, the forwarder remembers.
func (o WayOut) Passage(b *buffer.Buffer, e buffer.Entry) (Passage, error) {
	p := Passage{Link: o.Name, Kind: o.Kind, State: "waiting"}
	refused, aside, err := b.RefusedWith(o.Name, e.Lane, e.Seq)
	if err != nil {
		return p, err
	}
	loss, lost := b.LossOf(o.Name, e.Lane, e.Seq)
	acked, ahead := o.Cursor.Place(e.Lane, e.Seq)
	s, known, since := o.Forwarder.Sending(e.Epoch, e.Lane, e.Seq)
	if known && !s.Sent.IsZero() {
		p.Sent, p.Tried, p.Tries = s.Sent.UnixMilli(), s.Tried.UnixMilli(), s.Tries
		p.Bytes, p.Others = s.Bytes, s.Readings-1
	}
	switch {
	case aside && !(known && s.Outcome == uplink.Acked):
		p.State, p.Why, p.Block = "refused", refused.Reason, refused.ID
		if refused.Retry {
			p.State = "waiting"
		}
	case known && s.Outcome == uplink.Acked:
		p.State, p.Acked = "acked", s.Ended.UnixMilli()
	case known && s.Outcome == uplink.Empty:
		p.State = "empty"
	case acked && lost:
		p.State, p.Why = "lost", whyLost(loss)
	case acked:
		p.State, p.AckedBefore = "acked", since.UnixMilli()
	case known && s.Outcome == uplink.UnderWay:
		p.State = "sent"
	default:
		p.Ahead, p.Why = ahead, o.Why(e.Lane)
	}
	return p, nil
}

// whyLost puts a loss into words.
func whyLost(g buffer.Gap) string {
	if g.Reason == buffer.ReasonQuarantined {
		return "it was refused and set aside, and has left the quarantine: it was taken after all, or dropped"
	}
	return g.Reason
}
