package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// SetAside is a block of readings that an uplink refused for good. Times are Unix
// milliseconds.
type SetAside struct {
	// ID names it: SINK/LANE/NUMBER.
	ID   string `json:"id"`
	Sink string `json:"sink"`
	Lane string `json:"lane"`
	// First and Last are the numbers of its readings, Count is how many it has.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	Count int    `json:"count"`
	// From and To are when they were measured.
	From int64 `json:"from"`
	To   int64 `json:"to"`
	// Bytes is its size, At when it was refused, Reason what the other side said.
	Bytes  int    `json:"bytes"`
	At     int64  `json:"at"`
	Reason string `json:"reason"`
	// Retry says that it is to be sent again.
	Retry bool `json:"retry"`
	// Raw is the block itself, for those who ask for it.
	Raw []byte `json:"raw,omitempty"`
	// Readings are a page of its readings, and After goes on behind it; zero is for
	// the end.
	Readings []Held `json:"readings,omitempty"`
	After    uint64 `json:"after,omitempty"`
}

// Held is a reading of a block.
type Held struct {
	Seq     uint64 `json:"seq"`
	Time    int64  `json:"time"`
	Device  string `json:"device"`
	Metric  string `json:"metric"`
	Unit    string `json:"unit,omitempty"`
	Value   any    `json:"value"`
	Quality string `json:"quality,omitempty"`
}

// heldPage is how many readings of a block are told at once.
const heldPage = 200

// Quarantine tells what an uplink refused for good, and changes it.
func Quarantine(b *buffer.Buffer) []dashboard.Route {
	change := func(with func([]string) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var ids []string
			err := Read(w, r, 1<<20, &ids)
			if err == nil {
				err = AdviseRefused(with(ids))
			}
			Answer(w, struct{}{}, err)
		}
	}
	return []dashboard.Route{
		look("GET /api/v1/quarantine", func(w http.ResponseWriter, _ *http.Request) {
			all := []SetAside{}
			err := b.RefusedBlocks(func(r buffer.Refused) error {
				s, _, err := setAside(r)
				all = append(all, s)
				return err
			})
			Answer(w, all, err)
		}),
		look("GET /api/v1/quarantine/{sink}/{lane}/{number}", func(w http.ResponseWriter, r *http.Request) {
			block, err := b.RefusedBlock(r.PathValue("sink") + "/" + r.PathValue("lane") + "/" + r.PathValue("number"))
			if err != nil {
				Answer(w, nil, AdviseRefused(err))
				return
			}
			s, err := told(block, r.URL.Query())
			Answer(w, s, err)
		}),
		operate("POST /api/v1/quarantine/retry", change(b.RetryRefused)),
		operate("POST /api/v1/quarantine/drop", change(b.DropRefused)),
	}
}

// AdviseRefused says what to do when blocks of the quarantine cannot be changed.
func AdviseRefused(err error) error {
	switch {
	case errors.Is(err, buffer.ErrNotSetAside):
		return NotFound(fmt.Errorf("%w — hint: it was sent again and taken, or dropped, meanwhile", err))
	case errors.Is(err, buffer.ErrNoSink):
		return fmt.Errorf("%w — hint: blocks are sent to the uplink that refused them, under the name that it has in the configuration", err)
	}
	return err
}

// setAside describes a block in quarantine, without its content.
func setAside(r buffer.Refused) (SetAside, wire.Block, error) {
	const ms = int64(time.Millisecond)
	blk, _, err := wire.ParseBlock(r.Raw)
	return SetAside{
		ID: r.ID, Sink: r.Sink, Lane: r.Lane, First: r.First, Last: r.Last, Count: blk.Count,
		From: blk.Base / ms, To: (blk.Base + blk.Span) / ms, Bytes: r.Bytes, At: r.At / ms, Reason: r.Reason, Retry: r.Retry,
	}, blk, err
}

// told describes a block with what the query asks for: its bytes, or a page of its
// readings behind the number "after".
func told(r buffer.Refused, q url.Values) (SetAside, error) {
	s, blk, err := setAside(r)
	if err != nil {
		return s, err
	}
	if q.Get("raw") != "" {
		s.Raw = r.Raw
		return s, nil
	}
	after, err := strconv.ParseUint(q.Get("after"), 10, 64)
	if err != nil && q.Get("after") != "" {
		return s, Invalid(fmt.Errorf("after: %q is no number of a reading — hint: take it from the page before", q.Get("after")))
	}
	rs, err := wire.NewDecoder().Decode(nil, blk)
	if err != nil {
		return s, err
	}
	begin := 0
	if after >= blk.First {
		begin = int(min(after-blk.First+1, uint64(len(rs))))
	}
	end := min(begin+heldPage, len(rs))
	for i := range rs[begin:end] {
		s.Readings = append(s.Readings, held(blk.First+uint64(begin+i), &rs[begin+i]))
	}
	if end < len(rs) {
		s.After = blk.First + uint64(end) - 1
	}
	return s, nil
}

func held(seq uint64, r *reading.Reading) Held {
	return Held{
		Seq: seq, Time: r.Time / int64(time.Millisecond), Device: r.Device, Metric: r.Metric, Unit: r.Unit,
		Value: dashboard.ValueOf(r.Value), Quality: dashboard.QualityOf(r.Flags),
	}
}
