package dashboard

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/tidegate/tidegate/reading"
)

// maxHistory is the number of series up to which a full frame carries the
// points of the sparklines, so that it stays below about half a megabyte.
const maxHistory = 1000

// frame is one message to a viewer: what changed after tick From. LIVE.md
// describes its fields.
type frame struct {
	From     uint64        `json:"from"`
	Seq      uint64        `json:"seq"`
	Up       int64         `json:"up"`
	Readings uint64        `json:"readings"`
	Skipped  uint64        `json:"skipped"`
	Hidden   uint64        `json:"hidden"`
	Devices  []deviceFrame `json:"devices"`
	Status   *Status       `json:"status,omitempty"`
}

type deviceFrame struct {
	Name    string        `json:"name"`
	Seen    int64         `json:"seen"`
	Every   int64         `json:"every"`
	Metrics []metricFrame `json:"metrics"`
}

type metricFrame struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit,omitempty"`
	Value   any       `json:"value"`
	Quality string    `json:"quality,omitempty"`
	Points  []float32 `json:"points,omitempty"`
}

// encode returns the message for viewers of a kind.
func (f *frame) encode(t *table, k kind) ([]byte, error) {
	f.From = k.since
	f.Devices = []deviceFrame{}
	history := k.points && k.since == 0 && t.series <= maxHistory
	for _, d := range t.devices {
		if d.changed > k.since {
			f.Devices = append(f.Devices, d.frame(k.since, history))
		}
	}
	text, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encode frame: %w", err)
	}
	return text, nil
}

func (d *device) frame(since uint64, history bool) deviceFrame {
	f := deviceFrame{Name: d.name, Seen: d.seen, Every: d.every, Metrics: []metricFrame{}}
	for _, m := range d.metrics {
		if m.changed > since {
			f.Metrics = append(f.Metrics, m.frame(history))
		}
	}
	return f
}

func (m *metric) frame(history bool) metricFrame {
	f := metricFrame{Name: m.name, Unit: m.unit, Value: jsonValue(m.value)}
	switch m.quality {
	case reading.Uncertain:
		f.Quality = "uncertain"
	case reading.Bad:
		f.Quality = "bad"
	}
	if history {
		f.Points = m.history()
	}
	return f
}

// jsonValue is the value as the page can show it without loss: JSON has no NaN,
// and a browser's numbers end at 2^53.
func jsonValue(v reading.Value) any {
	switch v.Kind() {
	case reading.KindFloat:
		if f := v.Float(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
		return v.String()
	case reading.KindInt:
		if i := v.Int(); i >= -reading.MaxExactInt && i <= reading.MaxExactInt {
			return i
		}
		return strconv.FormatInt(v.Int(), 10)
	case reading.KindBool:
		return v.Bool()
	}
	return v.Text()
}
