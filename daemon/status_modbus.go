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

// nobodyAnswers is the state of a bus that can be reached, with slaves that cannot.
const nobodyAnswers = "nobody answers"

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
	switch {
	case m.Trouble != "":
		s.State = m.Trouble
	case known == len(m.Slaves) && s.Clients == 0:
		s.State = nobodyAnswers
	}
}

// maxSilent bounds how many slaves are told of one by one.
const maxSilent = 3

// silentSlaves puts into sentences who does not answer; of a bus that cannot be
// reached, why.
func silentSlaves(doors []dashboard.Door) (all []string) {
	const hint = " — hint: check its power, address, wiring and speed"
	for _, d := range doors {
		if len(d.Slaves) > 0 && d.State != dashboard.OK && d.State != nobodyAnswers {
			all = append(all, d.Name+": "+d.State)
			continue
		}
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
			all = append(all, fmt.Sprintf("%s: no answer from %d of %d slaves — hint: check their power, addresses, wiring and speed, and what all of them share", d.Name, len(silent), len(d.Slaves)))
		}
	}
	return all
}

// writeSlaves lists the slaves of a door with what went wrong.
func writeSlaves(b *strings.Builder, now time.Time, d dashboard.Door) {
	for _, s := range d.Slaves {
		fmt.Fprintf(b, "%s: unit %d, %s, is %s, last answer %s: %s", d.Name, s.Unit, s.Device, s.State, ago(now, s.LastAnswer), counted(s.Polls, "poll"))
		for _, c := range []struct {
			n    uint64
			what string
		}{
			{s.Skipped, fmt.Sprintf("%d skipped for want of time", s.Skipped)},
			{s.Failed, counted(s.Failed, "request") + " failed"},
			{uint64(s.BadRegisters), counted(s.BadRegisters, "register") + " left out (the log says which)"},
		} {
			if c.n > 0 {
				b.WriteString(", " + c.what)
			}
		}
		for _, kind := range slices.Sorted(maps.Keys(s.Errors)) {
			fmt.Fprintf(b, ", %d × %s", s.Errors[kind], kind)
		}
		b.WriteString("\n")
	}
}
