package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/ingest/modbusin"
)

func modbusStatus(s *dashboard.Door, source *modbusin.Source) {
	m := source.Stats()
	s.Kind, s.Address, s.NotStored = "modbus", source.URL(), m.NotStored
	s.LateAnswers, s.StrayBytes = m.Late, m.Stray
	known := 0
	for _, slave := range m.Slaves {
		one := dashboard.Slave{
			Unit: int(slave.Unit), Device: slave.Device, State: dashboard.LinkUnknown,
			LastAnswer: slave.LastAnswer / int64(time.Millisecond), Polls: slave.Polls, Skipped: slave.Skipped, Failed: slave.GivenUp, BadRegisters: slave.Bad, Errors: slave.Errors,
		}
		switch {
		case slave.Up:
			one.State = dashboard.LinkUp
			s.Clients++
		case slave.Known:
			one.State = dashboard.LinkDown
		}
		if slave.Known {
			known++
		}
		s.Slaves = append(s.Slaves, one)
	}
	if known == len(m.Slaves) && s.Clients == 0 {
		s.State = "nobody answers"
	}
}

// maxSilent bounds how many slaves are told of one by one.
const maxSilent = 3

// silentSlaves puts into sentences who does not answer.
func silentSlaves(doors []dashboard.Door) (all []string) {
	const hint = " — hint: check its power, address, wiring and speed"
	for _, d := range doors {
		var silent []string
		for _, s := range d.Slaves {
			if s.State == dashboard.LinkDown {
				silent = append(silent, fmt.Sprintf("%s (unit %d)", s.Device, s.Unit))
			}
		}
		switch {
		case len(silent) == 0:
		case len(silent) <= maxSilent:
			all = append(all, fmt.Sprintf("%s: no answer from %s%s", d.Name, strings.Join(silent, ", "), hint))
		default:
			all = append(all, fmt.Sprintf("%s: no answer from %d of %d slaves%s", d.Name, len(silent), len(d.Slaves), hint))
		}
	}
	return all
}

// writeSlaves lists the slaves of a door with what went wrong.
func writeSlaves(b *strings.Builder, now time.Time, d dashboard.Door) {
	for _, s := range d.Slaves {
		fmt.Fprintf(b, "%s: unit %d, %s, is %s, last answer %s: %d polls", d.Name, s.Unit, s.Device, s.State, ago(now, s.LastAnswer), s.Polls)
		for _, c := range []struct {
			n    uint64
			what string
		}{
			{s.Skipped, "skipped for want of time"}, {s.Failed, "requests failed"}, {uint64(s.BadRegisters), "registers that it does not have"},
		} {
			if c.n > 0 {
				fmt.Fprintf(b, ", %d %s", c.n, c.what)
			}
		}
		for _, kind := range slices.Sorted(maps.Keys(s.Errors)) {
			fmt.Fprintf(b, ", %d × %s", s.Errors[kind], kind)
		}
		b.WriteString("\n")
	}
}
