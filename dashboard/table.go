package dashboard

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/tidegate/tidegate/reading"
)

const (
	// maxPoints is the length of a sparkline.
	maxPoints = 60
	// maxName bounds the names of devices, metrics and units in bytes. Readings
	// with longer names are counted as hidden: cutting names would show two
	// devices as one.
	maxName = 128
	// pointEvery is the least time, in milliseconds, from one point to the next:
	// values in between replace the last one.
	pointEvery = 250
	// arrivalEvery is the least time, in milliseconds, from one arrival of a device
	// to the next: what it says within that time, metric by metric, is one.
	arrivalEvery = 1000
	// forgetAfter is the silence, in milliseconds, after which a device makes
	// room for another when the table is full.
	forgetAfter = 60 * 60 * 1000
)

// table holds the latest value of every series. The hub's goroutine owns it.
type table struct {
	config  Config
	byName  map[string]*device
	devices []*device
	series  int
	// hidden counts readings that are not shown because the table is full or
	// their names cannot be shown.
	hidden uint64
	// swept is when silent devices were last looked for, so that a flood of
	// new names does not search the table for each of them.
	swept int64
}

// device is one device's latest state. Times are milliseconds since the hub
// was made, on the monotonic clock, so a step of the wall clock ages nobody.
type device struct {
	name    string
	seen    int64
	arrived int64 // when the last arrival began
	every   int64 // smoothed time between arrivals; 0 until the second
	changed uint64
	metrics []*metric
}

// metric is the latest value of one series and the points of its sparkline.
type metric struct {
	name, unit string
	value      reading.Value
	quality    reading.Flags
	changed    uint64
	points     []float32 // a ring once it holds maxPoints
	began      int64     // when the last point was begun
	oldest     int       // index of the oldest point
}

func newTable(config Config) *table {
	return &table{config: config, byName: make(map[string]*device), swept: math.MinInt64 / 2}
}

// apply enters the readings of one tick, which arrived at the time up. It
// reports whether devices had to be forgotten to make room.
func (t *table) apply(rs []reading.Reading, tick uint64, up int64) (forgot bool) {
	for i := range rs {
		d, swept := t.device(rs[i].Device, up)
		forgot = forgot || swept
		if d == nil {
			t.hidden++
			continue
		}
		m := t.metric(d, rs[i].Metric, rs[i].Unit)
		if m == nil {
			t.hidden++
			continue
		}
		d.touch(tick, up)
		m.set(rs[i].Value, rs[i].Flags.Quality(), tick, up)
	}
	return forgot
}

// device finds or makes the device; nil means that it cannot be shown.
func (t *table) device(name string, up int64) (d *device, forgot bool) {
	if d := t.byName[name]; d != nil {
		return d, false
	}
	if !showable(name) {
		return nil, false
	}
	if len(t.devices) >= t.config.MaxDevices || t.series >= t.config.MaxSeries {
		if forgot = t.forgetSilent(up); !forgot {
			return nil, false
		}
	}
	d = &device{name: strings.Clone(name), seen: up, arrived: up}
	t.byName[d.name] = d
	t.devices = append(t.devices, d)
	return d, forgot
}

// metric finds or makes the series; nil means that it cannot be shown. Devices
// have few metrics, so looking along the slice beats a map.
func (t *table) metric(d *device, name, unit string) *metric {
	for _, m := range d.metrics {
		if m.name == name && m.unit == unit {
			return m
		}
	}
	full := len(d.metrics) >= t.config.MaxMetrics || t.series >= t.config.MaxSeries
	if full || !showable(name) || !showable(unit) {
		return nil
	}
	m := &metric{name: strings.Clone(name), unit: strings.Clone(unit)}
	d.metrics = append(d.metrics, m)
	t.series++
	return m
}

// showable reports whether a name fits and survives JSON unchanged.
func showable(name string) bool { return len(name) <= maxName && utf8.ValidString(name) }

// forgetSilent drops the devices that have been silent for long, at most once
// a minute. It reports whether there were any.
func (t *table) forgetSilent(up int64) bool {
	if up-t.swept < 60_000 {
		return false
	}
	t.swept = up
	kept := t.devices[:0]
	for _, d := range t.devices {
		if up-d.seen < forgetAfter {
			kept = append(kept, d)
			continue
		}
		delete(t.byName, d.name)
		t.series -= len(d.metrics)
	}
	forgot := len(kept) < len(t.devices)
	clear(t.devices[len(kept):])
	t.devices = kept
	return forgot
}

// touch notes that the device was heard at the time up.
func (d *device) touch(tick uint64, up int64) {
	if gap := up - d.arrived; gap >= arrivalEvery {
		d.every = smooth(d.every, gap)
		d.arrived = up
	}
	d.seen, d.changed = up, tick
}

// smooth averages the gaps between arrivals. One long silence counts as ten
// ordinary gaps at the most, or the device would not be called quiet for hours
// after an outage.
func smooth(every, gap int64) int64 {
	if every == 0 {
		return gap
	}
	return (3*every + min(gap, 10*every)) / 4
}

// set enters a value that came at the time up.
func (m *metric) set(v reading.Value, quality reading.Flags, tick uint64, up int64) {
	m.value, m.quality, m.changed = v, quality, tick
	x, ok := v.Number()
	point := float32(x)
	if !ok || math.IsNaN(float64(point)) || math.IsInf(float64(point), 0) {
		return
	}
	if len(m.points) > 0 && up-m.began < pointEvery {
		m.points[(m.oldest+len(m.points)-1)%len(m.points)] = point
		return
	}
	m.began = up
	if len(m.points) < maxPoints {
		m.points = append(m.points, point)
		return
	}
	m.points[m.oldest] = point
	m.oldest = (m.oldest + 1) % maxPoints
}

// history returns the points, oldest first.
func (m *metric) history() []float32 {
	points := make([]float32, 0, len(m.points))
	points = append(points, m.points[m.oldest:]...)
	return append(points, m.points[:m.oldest]...)
}
