package hostin

import (
	"cmp"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/inorder"
	"github.com/tidegate/tidegate/reading"
)

const (
	// maxFile is how much of a file is read.
	maxFile = 64 << 10
	// maxInterfaces and maxSupplies are how many of them are told of.
	maxInterfaces = 4
	maxSupplies   = 2
)

// counters are what the next look needs of this one.
type counters struct {
	at          time.Time
	busy, total uint64 // of all processors, in ticks
	traffic     map[string]traffic
}

// gathering is one look.
type gathering struct {
	device string
	rs     []reading.Reading
}

func (g *gathering) add(metric, unit string, v reading.Value) {
	g.rs = append(g.rs, reading.Reading{Device: g.device, Metric: metric, Unit: unit, Value: v, Lane: reading.Bulk})
}

// number adds a number with so many decimals: what is beyond them is noise, and
// would cost bytes.
func (g *gathering) number(metric, unit string, x float64, decimals int) {
	scale := math.Pow10(decimals)
	g.add(metric, unit, reading.Float(math.Round(x*scale)/scale))
}

// look reads everything, the most telling first. Units are those of SenML.
func (s *Source) look(now time.Time) []reading.Reading {
	g := &gathering{device: s.config.Device}
	next := counters{at: now, traffic: make(map[string]traffic)}
	s.temperature(g)
	s.processor(g, &next)
	s.memory(g)
	free := s.disk(g)
	s.supply(g)
	s.network(g, &next)
	if load, ok := firstNumber(s.read(s.config.Proc, "loadavg")); ok {
		g.number("cpu.load", "/", load, 2)
	}
	if free >= 0 {
		g.add("disk.free_bytes", "B", reading.Int(free))
	}
	if up, ok := firstNumber(s.read(s.config.Proc, "uptime")); ok {
		g.number("uptime", "s", up, 0)
	}
	s.last = next
	return g.rs
}

// read returns what a file has, at most maxFile of it; "" for none.
func (s *Source) read(root fs.FS, name string) string {
	f, err := root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return ""
	}
	return string(text)
}

// sys returns the files of /sys that match, in order; none if the pattern does not
// match anything.
func (s *Source) sys(pattern string) []string {
	names, _ := fs.Glob(s.config.Sys, pattern) // the patterns below are valid
	return names
}

// temperature is that of the warmest zone of the kernel's, or, where it has none, of
// the warmest sensor.
func (s *Source) temperature(g *gathering) {
	for _, pattern := range []string{"class/thermal/thermal_zone*/temp", "class/hwmon/hwmon*/temp*_input"} {
		warmest, found := 0.0, false
		for _, name := range s.sys(pattern) {
			t, ok := celsius(s.read(s.config.Sys, name))
			if ok && (!found || t > warmest) {
				warmest, found = t, true
			}
		}
		if found {
			g.number("cpu.temp", "Cel", warmest, 1)
			return
		}
	}
}

func (s *Source) processor(g *gathering, next *counters) {
	var ok bool
	if next.busy, next.total, ok = ticks(s.read(s.config.Proc, "stat")); ok {
		busy, total := next.busy-s.last.busy, next.total-s.last.total
		if s.last.total > 0 && next.busy >= s.last.busy && next.total > s.last.total && busy <= total {
			g.number("cpu.busy", "%", 100*float64(busy)/float64(total), 1)
		}
	}
}

func (s *Source) memory(g *gathering) {
	available, total, ok := memory(s.read(s.config.Proc, "meminfo"))
	if ok {
		g.number("memory.available", "%", 100*float64(available)/float64(total), 1)
	}
}

// disk returns how many bytes are free; -1 if that is not known.
func (s *Source) disk(g *gathering) int64 {
	if s.config.Disk == nil {
		return -1
	}
	free, size, err := s.config.Disk()
	if err != nil || size == 0 || free > size || free > math.MaxInt64 {
		return -1
	}
	g.number("disk.free", "%", 100*float64(free)/float64(size), 1)
	return int64(free)
}

// The bits of a Raspberry Pi's get_throttled that tell of now.
const (
	undervolted = 1 << 0
	throttled   = 1<<1 | 1<<2 // a lower clock, or a much lower one
)

// supply is whether the board gets the voltage that it needs, as far as it knows,
// and what batteries say.
func (s *Source) supply(g *gathering) {
	if bits, ok := hexadecimal(s.read(s.config.Sys, "devices/platform/soc/soc:firmware/get_throttled")); ok {
		g.add("supply.low", "", reading.Bool(bits&undervolted != 0))
		g.add("cpu.throttled", "", reading.Bool(bits&throttled != 0))
	} else {
		s.alarm(g)
	}
	supplies := s.sys("class/power_supply/*/voltage_now")
	for _, name := range supplies[:min(len(supplies), maxSupplies)] {
		dir := path.Dir(name)
		if microvolts, ok := firstNumber(s.read(s.config.Sys, name)); ok {
			g.number("supply."+path.Base(dir)+".voltage", "V", microvolts/1e6, 2)
		}
		if percent, ok := firstNumber(s.read(s.config.Sys, dir+"/capacity")); ok && percent <= 100 {
			g.number("supply."+path.Base(dir)+".charge", "%", percent, 0)
		}
	}
}

// alarm is what newer kernels of the Raspberry Pi tell of its supply.
func (s *Source) alarm(g *gathering) {
	for _, name := range s.sys("class/hwmon/hwmon*/name") {
		if strings.TrimSpace(s.read(s.config.Sys, name)) != "rpi_volt" {
			continue
		}
		if low, ok := firstNumber(s.read(s.config.Sys, path.Dir(name)+"/in0_lcrit_alarm")); ok {
			g.add("supply.low", "", reading.Bool(low != 0))
		}
	}
}

// network is what passes through the interfaces that are up, those with a device
// behind them first.
func (s *Source) network(g *gathering, next *counters) {
	all := interfaces(s.read(s.config.Proc, "net/dev"))
	all = slices.DeleteFunc(all, func(i traffic) bool { return i.name == "lo" || !s.isUp(i.name) })
	inorder.Sort(all, func(a, b traffic) int {
		return cmp.Or(cmp.Compare(s.virtual(a.name), s.virtual(b.name)), strings.Compare(a.name, b.name))
	})
	for _, now := range all[:min(len(all), maxInterfaces)] {
		next.traffic[now.name] = now
		before, known := s.last.traffic[now.name]
		took := next.at.Sub(s.last.at).Seconds()
		if known && took > 0 && now.in >= before.in && now.out >= before.out {
			g.number("net."+now.name+".in", "B/s", float64(now.in-before.in)/took, 0)
			g.number("net."+now.name+".out", "B/s", float64(now.out-before.out)/took, 0)
		}
	}
}

// isUp reports whether something may pass. Tunnels and modems do not know.
func (s *Source) isUp(name string) bool {
	state := strings.TrimSpace(s.read(s.config.Sys, "class/net/"+name+"/operstate"))
	return state == "up" || state == "unknown"
}

func (s *Source) virtual(name string) int {
	if _, err := fs.Stat(s.config.Sys, "class/net/"+name+"/device"); err != nil {
		return 1
	}
	return 0
}
