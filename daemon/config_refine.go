package daemon

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/ingest/refine"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/reading"
)

// Refine is [[refine]]: what happens to readings before they are stored. Routes
// and doors name it; tables of one name are applied in their order. The keys are
// those of refine.Step.
type Refine struct {
	Name string `toml:"name"`
	// Metric and Device are patterns for names.
	Metric string  `toml:"metric"`
	Device string  `toml:"device"`
	Drop   bool    `toml:"drop"`
	Rename string  `toml:"rename"`
	Scale  float64 `toml:"scale"`
	Offset float64 `toml:"offset"`
	Unit   string  `toml:"unit"`
	// Min and Max are the ends of a range, and OutOfRange is clamp, bad or drop.
	Min        *float64 `toml:"min"`
	Max        *float64 `toml:"max"`
	OutOfRange string   `toml:"out_of_range"`
	// Lane is alarm, normal or bulk; empty leaves it as it is.
	Lane            string        `toml:"lane"`
	Deadband        *float64      `toml:"deadband"`
	DeadbandPercent *float64      `toml:"deadband_percent"`
	Heartbeat       conf.Duration `toml:"heartbeat"`
	MinInterval     conf.Duration `toml:"min_interval"`
	AlarmAbove      *float64      `toml:"alarm_above"`
	AlarmBelow      *float64      `toml:"alarm_below"`
	// AlarmEquals is for texts, for booleans ("true") and for codes ("7").
	AlarmEquals *string       `toml:"alarm_equals"`
	Hysteresis  float64       `toml:"hysteresis"`
	Delay       conf.Duration `toml:"delay"`
}

// SetDefaults makes t what an empty [[refine]] would be.
func (t *Refine) SetDefaults() {
	*t = Refine{Metric: "*", Device: "*", Scale: 1, OutOfRange: "clamp"}
}

// step is the table as a step of a chain.
func (t Refine) step() refine.Step {
	s := refine.Step{
		Metric: t.Metric, Device: t.Device, Drop: t.Drop, Rename: t.Rename, Offset: t.Offset, Unit: t.Unit,
		Min: t.Min, Max: t.Max, OutOfRange: ranges()[t.OutOfRange], Deadband: t.Deadband, DeadbandPercent: t.DeadbandPercent,
		Heartbeat: time.Duration(t.Heartbeat), MinInterval: time.Duration(t.MinInterval),
		AlarmAbove: t.AlarmAbove, AlarmBelow: t.AlarmBelow, AlarmEquals: t.AlarmEquals,
		Hysteresis: t.Hysteresis, Delay: time.Duration(t.Delay),
	}
	if t.Scale != 1 {
		s.Scale = t.Scale
	}
	if lane, ok := reading.ParseLane(t.Lane); ok {
		s.Lane = &lane
	}
	return s
}

// ranges are the values of Refine.OutOfRange.
func ranges() map[string]refine.Range {
	return map[string]refine.Range{"clamp": refine.Clamp, "bad": refine.MarkBad, "drop": refine.Discard}
}

func (t Refine) validate(r refuse, key string) {
	switch {
	case t.Name == "":
		r(key+".name", `write for example "boiler", and refine = ["boiler"] in the routes that it is for`, "is missing")
	case !isName(t.Name):
		r(key+".name", nameHint, "%q is no valid name", t.Name)
	}
	if t.Scale == 0 {
		r(key+".scale", "write for example 0.1; drop = true if the metric is not wanted", "0 makes every value 0")
	}
	if t.Lane != "" {
		r.oneOf(key+".lane", t.Lane, reading.Alarm.String(), reading.Normal.String(), reading.Bulk.String())
	}
	r.oneOf(key+".out_of_range", t.OutOfRange, "clamp", "bad", "drop")
	for _, p := range t.step().Problems() {
		r(key+"."+p.Key, p.Hint, "%s", p.What)
	}
}

// validateRefine checks all tables.
func (c Config) validateRefine(r refuse) {
	for i, t := range c.Refine {
		t.validate(r, fmt.Sprintf("refine[%d]", i))
	}
}

// refinesOf returns the tables of a name.
func (c Config) refinesOf(name string) (tables []Refine) {
	for _, t := range c.Refine {
		if t.Name == name {
			tables = append(tables, t)
		}
	}
	return tables
}

// steps are what is behind every name.
type steps map[string][]refine.Step

func (c Config) refinements() steps {
	all := make(steps)
	for _, t := range c.Refine {
		all[t.Name] = append(all[t.Name], t.step())
	}
	return all
}

// validateRefine checks the key refine of a door or route.
func (w words) validateRefine(r refuse, key string, names []string) {
	total := 0
	for i, name := range names {
		n, known := w.refinements[name]
		switch place := fmt.Sprintf("%s[%d]", key, i); {
		case !known:
			r(place, w.suggest(name), "no [[refine]] has the name %q", name)
		case slices.Index(names, name) < i:
			r(place, "remove one of the two", "%q stands here twice", name)
		}
		total += n
	}
	if total > refine.MaxSteps {
		r(key, fmt.Sprintf("at most %d tables; patterns can stand for many names", refine.MaxSteps), "names %d tables", total)
	}
}

// suggest returns a hint for a name that no table has.
func (w words) suggest(name string) string {
	if len(w.refinements) == 0 {
		return fmt.Sprintf("add a table [[refine]] with name = %q", name)
	}
	return conf.Suggest(name, slices.Sorted(maps.Keys(w.refinements)))
}

// chains are those that were made of a configuration, one for each door or route
// that names a [[refine]].
type chains struct {
	all []*refine.Chain
	// observe, if not nil, is shown what they filter.
	observe func(reading.Reading, refine.Reason)
}

// chain returns a chain for whoever names these, nil for none.
func (v vocabulary) chain(names []string) route.Refiner {
	var steps []refine.Step
	for _, name := range names {
		steps = append(steps, v.refinements[name]...)
	}
	if len(steps) == 0 {
		return nil
	}
	chain, err := refine.New(refine.Config{Steps: steps, Observe: v.chains.observe})
	if err != nil {
		panic(err) // validated
	}
	v.chains.all = append(v.chains.all, chain)
	return chain
}

// status returns what all chains have done; nil if there are none.
func (c *chains) status() *dashboard.Refined {
	if c == nil || len(c.all) == 0 {
		return nil
	}
	s := c.stats()
	return &dashboard.Refined{
		Kept: s.Kept, Unchanged: s.Unchanged, TooSoon: s.TooSoon, OutOfRange: s.OutOfRange, Dropped: s.Dropped,
		Clamped: s.Clamped, MarkedBad: s.MarkedBad, Late: s.Late, Raised: s.Raised, Cleared: s.Cleared,
		SetBack: s.SetBack, Series: s.Series, Untracked: s.Untracked,
	}
}

// refined words that, empty for nil.
func refined(s *dashboard.Refined) string {
	if s == nil {
		return ""
	}
	text := "refined: " + count(s.Kept, "reading") + " kept"
	left := counts{{s.Unchanged, "unchanged"}, {s.TooSoon, "too soon"}, {s.OutOfRange, "out of range"}, {s.Dropped, "dropped"}}
	if n := s.Unchanged + s.TooSoon + s.OutOfRange + s.Dropped; n > 0 {
		text += fmt.Sprintf(", %d left out: %s", n, left)
	}
	if changed := (counts{{s.Clamped, "clamped"}, {s.MarkedBad, "marked bad"}, {s.Late, "late"}}).String(); changed != "" {
		text += "; " + changed
	}
	if s.Raised > 0 {
		text += fmt.Sprintf("; %s raised, %d cleared", count(s.Raised, "alarm"), s.Cleared)
	}
	if s.SetBack > 0 {
		text += fmt.Sprintf("; clocks set back %d times", s.SetBack)
	}
	return text
}

// stats returns what all chains have done, added up.
func (c *chains) stats() (sum refine.Stats) {
	for _, chain := range c.all {
		sum.Add(chain.Stats())
	}
	return sum
}
