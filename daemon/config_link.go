package daemon

import (
	"fmt"
	"iter"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink/carrier"
)

// Carrier is [[link]]: a way to the network, and what may pass over it.
type Carrier struct {
	// Name is what uplinks call the link in their links.
	Name string `toml:"name"`
	// Interface is the network interface that connections leave by, and Source the
	// address that they come from. Empty leaves both to the system's routing.
	Interface string `toml:"interface"`
	Source    string `toml:"source"`
	// DNS are the name servers of this link, instead of the system's.
	DNS []string `toml:"dns"`
	// Metered and Expensive set what MinBatch, MinBatchAge and Keepalive are when
	// they say nothing.
	Metered   bool `toml:"metered"`
	Expensive bool `toml:"expensive"`
	// Lanes may travel.
	Lanes []string `toml:"lanes"`
	// MinBatch and MinBatchAge let readings that are no alarms wait for company.
	MinBatch    *conf.Size     `toml:"min_batch"`
	MinBatchAge *conf.Duration `toml:"min_batch_age"`
	// Rate is how many bytes a second are sent; zero stands for any number.
	Rate conf.Size `toml:"rate"`
	// BudgetDay and BudgetMonth are what may pass, in both directions together;
	// zero stands for any number. AlarmReserve of them is for alarms alone.
	BudgetDay    conf.Size `toml:"budget_day"`
	BudgetMonth  conf.Size `toml:"budget_month"`
	AlarmReserve conf.Size `toml:"alarm_reserve"`
	// WhenSpent is alarms, stop or ignore.
	WhenSpent string `toml:"when_spent"`
	// Spread lets readings pass no faster than the budgets allow.
	Spread bool `toml:"spread"`
	// BillingDay is when a month begins. BillingBlock is what the operator rounds up
	// to, of each BillingPer: session, day or month.
	BillingDay   int       `toml:"billing_day"`
	BillingBlock conf.Size `toml:"billing_block"`
	BillingPer   string    `toml:"billing_per"`
	// Schedule is when the link may be used, and Always which lanes may travel
	// outside of it.
	Schedule []string `toml:"schedule"`
	Always   []string `toml:"always"`
	// DeadAfter, Keepalive and DialTimeout bound how long a dead connection is
	// waited for.
	DeadAfter   conf.Duration  `toml:"dead_after"`
	Keepalive   *conf.Duration `toml:"keepalive"`
	DialTimeout conf.Duration  `toml:"dial_timeout"`
}

// SetDefaults makes c what an empty [[link]] would be.
func (c *Carrier) SetDefaults() {
	*c = Carrier{
		Lanes: []string{"alarm", "normal", "bulk"}, Always: []string{"alarm"},
		WhenSpent: "alarms", BillingDay: 1, BillingPer: "session",
		DeadAfter: conf.Duration(carrier.DefaultDeadAfter), DialTimeout: conf.Duration(carrier.DefaultDialTimeout),
	}
}

// maxWindows bounds a schedule.
const maxWindows = 16

func (c Config) validateLinks(r refuse) {
	var names []string
	for i, l := range c.Link {
		key := fmt.Sprintf("link[%d]", i)
		r.named(key+".name", l.Name, names, `write for example "lte"`)
		if l.Name == usual {
			r(key+".name", "choose another name", "%q is what the system's routing is called", usual)
		}
		names = append(names, l.Name)
		l.validate(r, key)
	}
	for table, links := range c.linksOf() {
		for n, name := range links {
			key := fmt.Sprintf("%s.links[%d]", table, n)
			switch {
			case !slices.Contains(names, name):
				r(key, "write the name of a [[link]]", "there is no link %q", name)
			case slices.Index(links, name) < n:
				r(key, "name each link once, the best first", "%q is there already", name)
			}
		}
	}
}

// linksOf yields the tables that use links, uplinks and ways down, and the links
// that they name.
func (c Config) linksOf() iter.Seq2[string, []string] {
	return func(yield func(table string, links []string) bool) {
		for _, u := range c.Uplink.all() {
			if !yield(u.key, u.settings().Links) {
				return
			}
		}
		for _, d := range c.Command.all() {
			if !yield(d.key, d.below().Links) {
				return
			}
		}
	}
}

func (c Carrier) validate(r refuse, key string) {
	c.validateWay(r, key)
	c.validateBudget(r, key)
	lanes := func(key string, names []string) {
		for i, name := range names {
			if _, ok := reading.ParseLane(name); !ok {
				r.oneOf(fmt.Sprintf("%s[%d]", key, i), name, "alarm", "normal", "bulk")
			}
		}
	}
	lanes(key+".lanes", c.Lanes)
	lanes(key+".always", c.Always)
	if len(c.Lanes) == 0 {
		r(key+".lanes", `write for example ["alarm"], or leave the link out of every uplink's links`, "nothing may travel")
	}
	if len(c.Schedule) > maxWindows {
		r(key+".schedule", fmt.Sprintf("write at most %d", maxWindows), "%d windows are too many", len(c.Schedule))
	}
	for i, text := range c.Schedule {
		if _, err := carrier.ParseWindow(text); err != nil {
			r.because(fmt.Sprintf("%s.schedule[%d]", key, i), err)
		}
	}
}

// validateWay checks where the link leads, and how long it is waited for.
func (c Carrier) validateWay(r refuse, key string) {
	if n := len(c.Interface); n > 15 || strings.ContainsAny(c.Interface, "/ \t") {
		r(key+".interface", `see "ip -brief link" for those that there are`, "%q cannot be the name of an interface", c.Interface)
	}
	if _, err := netip.ParseAddr(c.Source); c.Source != "" && err != nil {
		r(key+".source", `write an address, for example "192.168.8.20"`, "%q is no address", c.Source)
	}
	for i, server := range c.DNS {
		if _, err := nameServer(server); err != nil {
			r(fmt.Sprintf("%s.dns[%d]", key, i), `write an address, for example "10.64.0.1"`, "%q is no address", server)
		}
	}
	between(r, key+".dead_after", c.DeadAfter, conf.Duration(2*time.Second), conf.Duration(30*time.Minute))
	between(r, key+".dial_timeout", c.DialTimeout, conf.Duration(time.Second), conf.Duration(5*time.Minute))
	if c.Keepalive != nil {
		between(r, key+".keepalive", *c.Keepalive, conf.Duration(time.Second), conf.Duration(9*time.Hour)) // the kernel's bound is 32767 s
	}
	if c.MinBatch != nil {
		between(r, key+".min_batch", *c.MinBatch, 0, conf.MiB)
	}
	if c.MinBatchAge != nil {
		between(r, key+".min_batch_age", *c.MinBatchAge, 0, conf.Duration(24*time.Hour))
	}
	c.validateCompany(r, key)
	if c.Rate != 0 {
		between(r, key+".rate", c.Rate, 20, conf.GiB)
	}
}

// validateCompany refuses one half of what lets readings wait without the other,
// which would let nothing wait.
func (c Carrier) validateCompany(r refuse, key string) {
	classed := c.Metered || c.Expensive // which has both
	waits := func(set, zero bool) bool { return !zero && (set || classed) }
	enough := waits(c.MinBatch != nil, c.MinBatch != nil && *c.MinBatch == 0)
	long := waits(c.MinBatchAge != nil, c.MinBatchAge != nil && *c.MinBatchAge == 0)
	switch {
	case c.MinBatchAge != nil && long && !enough:
		r(key+".min_batch_age", `set min_batch as well, for example "4KiB", or metered = true`, "there is nothing to wait for")
	case c.MinBatch != nil && enough && !long:
		r(key+".min_batch", `set min_batch_age as well, for example "1m", or metered = true`, "nobody waits for it")
	}
}

func (c Carrier) validateBudget(r refuse, key string) {
	smaller := conf.Size(0)
	for name, budget := range map[string]conf.Size{".budget_day": c.BudgetDay, ".budget_month": c.BudgetMonth} {
		if budget == 0 {
			continue
		}
		between(r, key+name, budget, 10_000, conf.TiB)
		if smaller == 0 || budget < smaller {
			smaller = budget
		}
	}
	switch {
	case c.AlarmReserve > 0 && smaller == 0:
		r(key+".alarm_reserve", "set budget_day or budget_month", "there is no budget to reserve from")
	case c.AlarmReserve > 0 && c.AlarmReserve >= smaller:
		r(key+".alarm_reserve", "write less than the budget", "nothing of %v is left for other readings", smaller)
	case c.Spread && smaller == 0:
		r(key+".spread", "set budget_day or budget_month", "there is no budget to spread")
	}
	if c.Spread && c.WhenSpent == "ignore" {
		r(key+".spread", `set when_spent = "alarms", or leave spread out`, "a budget that is only counted is not spread")
	}
	counted := smaller // of the budgets that blocks are counted in
	if c.BillingPer == "month" {
		counted = c.BudgetMonth
	}
	if counted > 0 && c.BillingBlock > 0 && c.WhenSpent != "ignore" && c.BillingBlock >= counted-c.AlarmReserve {
		r(key+".billing_block", "look up what the operator rounds up to, or raise the budget",
			"the first byte would spend the budget: a block is %v, and there are %v", c.BillingBlock, max(0, counted-c.AlarmReserve))
	}
	r.oneOf(key+".when_spent", c.WhenSpent, "alarms", "stop", "ignore")
	r.oneOf(key+".billing_per", c.BillingPer, "session", "day", "month")
	between(r, key+".billing_day", c.BillingDay, 1, 31)
	between(r, key+".billing_block", c.BillingBlock, 0, conf.GiB)
}

// nameServer reads an address, or an address and a port.
func nameServer(text string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(a, 53), nil
	}
	return netip.ParseAddrPort(text)
}

// usual is what the network is called that uplinks without links use: the
// system's routing.
const usual = "network"

// carrier returns the link's configuration for package carrier. c must be valid.
func (c Carrier) carrier(dataDir string) carrier.Config {
	cfg := carrier.Config{
		Name: c.Name, Interface: c.Interface, Rate: int64(c.Rate),
		Budget: carrier.Budget{
			Day: int64(c.BudgetDay), Month: int64(c.BudgetMonth), BillingDay: c.BillingDay, Block: int64(c.BillingBlock),
			AlarmReserve: int64(c.AlarmReserve), Spread: c.Spread,
			WhenSpent: map[string]carrier.WhenSpent{"stop": carrier.SpentStop, "ignore": carrier.SpentIgnore}[c.WhenSpent],
			Per:       map[string]carrier.Rounding{"day": carrier.PerDay, "month": carrier.PerMonth}[c.BillingPer],
		},
		Lanes: laneSet(c.Lanes), Always: laneSet(c.Always), Metered: c.Metered, Expensive: c.Expensive,
		DeadAfter: time.Duration(c.DeadAfter), DialTimeout: time.Duration(c.DialTimeout),
		State: filepath.Join(dataDir, "links", c.Name),
	}
	if c.Source != "" {
		cfg.Source, _ = netip.ParseAddr(c.Source)
	}
	for _, text := range c.DNS {
		server, _ := nameServer(text)
		cfg.DNS = append(cfg.DNS, server)
	}
	for _, text := range c.Schedule {
		w, _ := carrier.ParseWindow(text)
		cfg.Schedule = append(cfg.Schedule, w)
	}
	if c.MinBatch != nil { // an explicit zero is one
		if cfg.MinBytes = int(*c.MinBatch); cfg.MinBytes == 0 {
			cfg.MinBytes = -1
		}
	}
	if c.MinBatchAge != nil {
		if cfg.MinAge = time.Duration(*c.MinBatchAge); cfg.MinAge == 0 {
			cfg.MinAge = -1
		}
	}
	if c.Keepalive != nil {
		cfg.Keepalive = time.Duration(*c.Keepalive)
	}
	return cfg
}

func laneSet(names []string) (s reading.LaneSet) {
	for _, name := range names {
		if l, ok := reading.ParseLane(name); ok {
			s |= reading.LanesOf(l)
		}
	}
	return s
}

// carriers returns all links: those of the configuration, and the system's
// routing if somebody names none.
func (c Config) carriers() []Carrier {
	all := slices.Clone(c.Link)
	for _, links := range c.linksOf() {
		if len(links) == 0 {
			var system Carrier
			system.SetDefaults()
			system.Name = usual
			return append(all, system)
		}
	}
	return all
}
