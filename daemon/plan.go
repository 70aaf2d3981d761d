package daemon

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/cardlife"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/sizing"
)

// plan is what "tidegate plan" finds out. Sizes are bytes, times seconds, and a month
// has thirty days.
type plan struct {
	Verdict string `json:"verdict"`
	// Load says in words where Readings, a second, comes from.
	Load     string  `json:"load"`
	Readings float64 `json:"readings"`
	// MaxBytes is buffer.max_bytes, which lasts for Holds at least. A reading takes
	// Fresh bytes when it is committed, and Kept when small blocks were merged.
	MaxBytes int64   `json:"max_bytes"`
	Holds    float64 `json:"holds"`
	// Noise is how long it lasts for values that no method makes smaller; 0 when
	// readings were observed as they are.
	Noise float64 `json:"holds_noise,omitempty"`
	Fresh float64 `json:"bytes_fresh"`
	Kept  float64 `json:"bytes_kept"`
	// Outage is what is wished for, and Needs the max_bytes for it; 0 is no wish.
	Outage float64 `json:"outage,omitempty"`
	Needs  int64   `json:"needs,omitempty"`
	// Room is what the disk has for the buffer, 0 when that is not known.
	Room    int64         `json:"room,omitempty"`
	Uplinks []plannedLink `json:"uplinks"`
	Flash   []plannedWear `json:"flash"`
	// Endurance is what the card bears, 0 when that is not known.
	Endurance float64 `json:"endurance,omitempty"`
	// Memory is of the process; 0 when nothing is known of the devices.
	Memory float64  `json:"memory,omitempty"`
	Notes  []string `json:"notes"`
}

// plannedLink is what an uplink puts on its line.
type plannedLink struct {
	Name     string  `json:"name"`
	Kind     string  `json:"kind"`
	Day      float64 `json:"day"`
	Month    float64 `json:"month"`
	Link     string  `json:"link,omitempty"` // its first one, if that has a budget:
	DayMax   int64   `json:"budget_day,omitempty"`
	MonthMax int64   `json:"budget_month,omitempty"`
}

// over says how many times too much it is, 0 for within the budget.
func (l plannedLink) over() float64 {
	times := 0.0
	for _, b := range []struct{ bytes, most float64 }{{l.Day, float64(l.DayMax)}, {l.Month, float64(l.MonthMax)}} {
		if b.most > 0 && b.bytes > b.most {
			times = max(times, b.bytes/b.most)
		}
	}
	return times
}

// plannedWear is what a profile writes to flash in a day, in two bounds, and how many
// years the card bears that, in the worst case and in the best.
type plannedWear struct {
	Profile string  `json:"profile"`
	Now     bool    `json:"configured"`
	Commits float64 `json:"commits"` // a second
	Low     float64 `json:"day_low"`
	High    float64 `json:"day_high"`
	Worst   float64 `json:"years_worst,omitempty"`
	Best    float64 `json:"years_best,omitempty"`
}

// noise is how many bytes a value takes more, at the most, of which nothing can be
// foreseen.
const noise = 8

// unitMemory is MemoryMax= of systemd/tidegate.service.
const unitMemory = 256 << 20

// state computes everything from a load.
func (p *plan) state(cfg Config, l sizing.Load) {
	p.Load = fmt.Sprintf("%s from %s of %s, as stated", rateText(l.Readings), counted(l.Devices, "device"), counted(l.Metrics, "metric"))
	p.Readings, p.Memory = l.Readings, l.Memory()
	for _, profile := range []string{"speed", "balanced", "gentle"} {
		b, now := cfg.Buffer, cfg.Buffer.Profile == profile
		if !now {
			b.Profile, b.FlashBudget, b.MaxAckDelay = profile, nil, nil
		}
		day := l.Day(sizing.Pace{Budget: b.DailyFlash(), Delay: b.AckDelay(), Interval: time.Duration(b.CommitInterval)})
		if now {
			p.Fresh, p.Kept = day.Fresh, l.Kept(day)
			p.Noise = sizing.Holds(p.MaxBytes, p.Readings, p.Fresh+noise, p.Kept+noise).Seconds()
			if day.Forced {
				p.note("max_ack_delay forces more commits than flash_budget pays for: raise one of them")
			}
		}
		p.Flash = append(p.Flash, plannedWear{Profile: profile, Now: now, Commits: day.Commits, Low: day.Low + day.FileSystem(), High: day.High + day.FileSystem()})
	}
	for _, u := range cfg.Uplink.all() {
		line := p.line(cfg, u)
		var wait time.Duration
		var batch int
		if link, ok := cfg.firstLink(u); ok {
			batch, wait = link.carrier("").Company()
		}
		var known bool
		if line.Day, known = l.Wire(u.kind, wait, int64(batch)); !known || u.settings().Encoding != "packed" || u.settings().MessagePer != "batch" {
			p.note("of %s, only the packed encoding with a message per batch was measured, as shown: others take more", line.Name)
		}
		if u.kind != "file" {
			line.Month = 30 * line.Day
			p.Uplinks = append(p.Uplinks, line)
		}
	}
	if p.Memory > unitMemory {
		p.note("the unit allows the process %s of memory: raise its MemoryMax=, and gateway.memory", conf.Size(unitMemory))
	}
	if len(p.Uplinks) > 0 {
		p.note("TLS is not counted; an uplink whose link lets readings wait for company (min_batch_age) takes less, one that was away as well")
	}
}

// line is an uplink, and what its first link allows.
func (p *plan) line(cfg Config, u upstream) plannedLink {
	line := plannedLink{Name: u.settings().Name, Kind: u.kind}
	if link, ok := cfg.firstLink(u); ok && link.BudgetDay+link.BudgetMonth > 0 {
		line.Link, line.DayMax, line.MonthMax = link.Name, int64(link.BudgetDay), int64(link.BudgetMonth)
	}
	return line
}

// firstLink is the link that an uplink prefers.
func (c Config) firstLink(u upstream) (Carrier, bool) {
	for _, l := range c.Link {
		if names := u.settings().Links; len(names) > 0 && names[0] == l.Name {
			return l, true
		}
	}
	return Carrier{}, false
}

// Less than this tells nothing about a day.
const (
	leastObserved = 10 * time.Minute
	leastReadings = 100
)

// observe takes the rate and the size of readings from what is on flash, and the rest
// from a gateway that runs.
func (p *plan) observe(ctx context.Context, cfg Config) error {
	const hint = "let it run for a while, or state the load: tidegate plan -readings 20/s -devices 50"
	from, err := findHolding(ctx, cfg)
	if err != nil {
		return err
	}
	inv, err := from.inventory(ctx)
	if err != nil {
		return err
	}
	var readings uint64
	var bytes int64
	for _, s := range inv.Segments {
		for _, span := range s.Lanes {
			readings, bytes = readings+span.Count(), bytes+span.Bytes
		}
	}
	times, err := timesOf(ctx, inv)
	if err != nil {
		return err
	}
	span, astray, known := spanOf(times)
	switch {
	case readings >= leastReadings && !known:
		return fmt.Errorf("the times of %d readings lie too far apart to tell how many there are in a day — hint: set the clocks of devices, or state the load: tidegate plan -readings 20/s -devices 50", readings)
	case readings < leastReadings || span < leastObserved:
		return fmt.Errorf("%d readings within %v are too few to tell anything — hint: %s", readings, span.Round(time.Second), hint)
	}
	if astray > 0 {
		p.note("%s of the readings have times that are far from those of the others: clocks of devices may be wrong", percentText(astray))
	}
	p.Readings = float64(readings) / span.Seconds()
	p.Fresh = float64(bytes) / float64(readings)
	p.Kept = p.Fresh
	p.Load = fmt.Sprintf("%s, as observed: %d readings that were measured within %s", rateText(p.Readings), readings, spanText(span.Seconds()))
	p.note("small blocks are merged in an outage, so the buffer may last several times longer")
	s, err := askStatus(ctx, cfg.Gateway.SocketPath())
	if up := time.Duration(s.Now-s.Started) * time.Millisecond; err != nil || up < leastObserved {
		p.note("for flash and links, ask while the gateway runs, %.0f minutes after its start or later", leastObserved.Minutes())
	} else {
		p.running(cfg, s, up.Seconds()/(24*60*60))
	}
	return nil
}

// running adds what a gateway has done in so many days.
func (p *plan) running(cfg Config, s dashboard.Status, days float64) {
	bytes := float64(s.Buffer.FlashWritten) / days
	p.Flash = []plannedWear{{Profile: s.Buffer.Profile, Now: true, Commits: float64(s.Buffer.Commits) / days / (24 * 60 * 60), Low: bytes, High: bytes}}
	for _, u := range cfg.Uplink.all() {
		line := p.line(cfg, u)
		for _, l := range s.Links {
			if l.Name == line.Name && u.kind != "file" {
				line.Day = float64(l.SentBytes) / days
				line.Month = 30 * line.Day
				p.Uplinks = append(p.Uplinks, line)
			}
		}
	}
	if len(p.Uplinks) > 0 {
		p.note("uplinks are bodies of messages as observed, without headers")
	}
}

// conclude adds what follows from the load.
func (p *plan) conclude(cfg Config) {
	p.Holds = sizing.Holds(p.MaxBytes, p.Readings, p.Fresh, p.Kept).Seconds()
	if p.Outage > 0 {
		p.Needs = sizing.Needs(p.outageSpan(), p.Readings, p.Fresh, p.Kept)
		if gib := int64(conf.GiB); p.Needs > 4*gib { // people like round numbers
			p.Needs = (p.Needs + gib - 1) / gib * gib
		}
	}
	dir := cfg.Gateway.DataDir
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) == nil {
		p.Room = int64(st.Bavail)*int64(st.Bsize) + usedBytes(dir)
	}
	if _, err := os.Stat(dir); err == nil && p.Endurance == 0 && len(p.Flash) > 0 {
		if p.Endurance = cardlife.Endurance(dir); p.Endurance > 0 {
			p.note("of the card, a thousand erasures a cell are assumed: -endurance takes what its maker says")
		}
	}
	for i, w := range p.Flash {
		if p.Endurance > 0 && w.High > 0 {
			p.Flash[i].Worst = sizing.Years(p.Endurance, w.High, sizing.AmplificationHigh)
			p.Flash[i].Best = sizing.Years(p.Endurance, w.Low, sizing.AmplificationLow)
		}
	}
	if p.Endurance > 0 && len(p.Flash) > 0 {
		p.note("no card tells how it writes: the years are for %g to %g bytes of wear for one that it is given", sizing.AmplificationLow, sizing.AmplificationHigh)
	}
	if age := time.Duration(cfg.Buffer.Normal.MaxAge).Seconds(); age > 0 && age < max(p.Outage, p.Holds) {
		p.note("buffer.normal.max_age drops readings after %s, sent or not", spanText(age))
	}
	p.Verdict = p.verdict()
}

func (p *plan) note(format string, a ...any) { p.Notes = append(p.Notes, fmt.Sprintf(format, a...)) }

// verdict is the first thing that somebody wants to know.
func (p *plan) verdict() string {
	most, holds := conf.Size(p.MaxBytes), spanText(math.Floor(p.Holds))
	need := p.MaxBytes
	text := fmt.Sprintf("Without a link the buffer lasts for %s, with max_bytes = %q.", holds, most)
	if p.Needs > 0 && p.Holds >= min(p.Outage, century) {
		text = fmt.Sprintf("An outage of %s fits: max_bytes = %q lasts for %s.", spanText(p.Outage), most, holds)
		if p.Noise > 0 && p.Noise < p.Outage {
			text = fmt.Sprintf("An outage of %s fits if values drift as those of most sensors do: max_bytes = %q lasts for %s then, and for %s if they jump.", spanText(p.Outage), most, holds, spanText(p.Noise))
		}
	} else if p.Needs > 0 {
		need = p.Needs
		text = fmt.Sprintf("An outage of %s does not fit: set buffer.max_bytes = %q, for %q lasts for %s.", spanText(p.Outage), conf.Size(p.Needs), most, holds)
	}
	if p.Room > 0 && p.Room < need {
		text += fmt.Sprintf(" But the disk has room for %s only.", conf.Size(p.Room).Approx())
	}
	for _, l := range p.Uplinks {
		if times := l.over(); times > 0 {
			text += fmt.Sprintf(" Uplink %s takes %.1f times the budget of link %s.", l.Name, times, l.Link)
		}
	}
	return text
}
