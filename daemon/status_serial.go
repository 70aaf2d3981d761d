package daemon

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/ingest/serialin"
	"github.com/tidegate/tidegate/internal/conf"
)

// serialStatus is the state of the door at a serial line.
func serialStatus(s *dashboard.Door, doors []Serial, st serialin.Stats) {
	s.Kind, s.State = "serial", st.State
	for _, door := range doors {
		if door.doorName() == s.Name {
			s.Address = door.Port
		}
	}
	if st.State == serialin.Open {
		s.Clients = 1
	}
	s.Opaque, s.Rejected, s.NotStored = st.Opaque, st.Dropped, st.Refused
	s.Line = &dashboard.Line{
		Device: st.Device, Identity: st.Identity, Frames: st.Frames, LastFrame: unixMilli(st.LastFrame), Backlog: st.Backlog,
		Trouble: st.Trouble, TroubleAt: unixMilli(st.TroubleAt), Polls: st.Polls, Confirmed: st.Confirmed,
		Timeouts: st.Timeouts, Unasked: st.Unasked, Gone: st.Gone,
		BadChecksum: st.Scan.BadChecksum, Broken: st.Scan.Broken, TooLong: st.Scan.TooLong, Partial: st.Scan.Partial,
		Damaged: st.Damaged, Garbage: st.Scan.Garbage,
		DamagedBytes: st.Port.Damaged, ParityErrors: st.Port.Parity, FrameErrors: st.Port.Frame, Breaks: st.Port.Break,
		Overruns: st.Port.Overrun + st.Port.Overflow, Abandoned: st.Port.Abandoned,
	}
}

// lineProblems puts into sentences which lines are not read.
func lineProblems(s dashboard.Status) (all []string) {
	for _, d := range s.Doors {
		if d.Line == nil || d.State == dashboard.OK {
			continue
		}
		what := d.Line.Trouble
		if what == "" {
			what = d.State
		}
		all = append(all, d.Name+": "+what)
	}
	return all
}

// writeLine prints how a serial line is: what went well, then each kind of error
// that there was, in words that tell where to look.
func writeLine(b *strings.Builder, now time.Time, d dashboard.Door) {
	l := d.Line
	if l == nil {
		return
	}
	fmt.Fprintf(b, "%s: %d frames, the last %s", d.Name, l.Frames, ago(now, l.LastFrame))
	for _, c := range []struct {
		n    uint64
		what string
	}{
		{l.Polls, "polls"}, {l.Confirmed, "frames confirmed"}, {uint64(l.Backlog), "bytes waiting for the disk"},
	} {
		if c.n > 0 {
			fmt.Fprintf(b, ", %d %s", c.n, c.what)
		}
	}
	switch {
	case l.Identity != "":
		fmt.Fprintf(b, "; %s is %s", l.Device, l.Identity)
	case l.Device != "" && l.Device != d.Address:
		fmt.Fprintf(b, "; at %s", l.Device)
	}
	b.WriteString("\n")
	if text := strings.Join(lineErrors(l), ", "); text != "" {
		fmt.Fprintf(b, "%s: %s\n", d.Name, text)
	}
	if l.Trouble != "" && d.State == dashboard.OK {
		fmt.Fprintf(b, "%s: %s ago: %s\n", d.Name, age(now, l.TroubleAt), l.Trouble)
	}
}

func lineErrors(l *dashboard.Line) (all []string) {
	for _, c := range []struct {
		n    uint64
		what string
	}{
		{l.Gone, "times gone"},
		{l.Timeouts, "polls without an answer"},
		{l.Unasked, "frames that answered no poll"},
		{l.BadChecksum, "frames with a wrong checksum"},
		{l.Broken, "frames that were coded wrongly"},
		{l.TooLong, "frames too long"},
		{l.Partial, "frames cut off"},
		{l.Damaged, "frames with damaged bytes"},
		{l.ParityErrors, "bytes with a wrong parity bit"},
		{l.FrameErrors, "bytes without a stop bit (is the speed right?)"},
		{l.Breaks, "breaks"},
		{l.Overruns, "bytes lost because they came too fast"},
		{l.Abandoned, "bytes that the device did not take"},
	} {
		if c.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if l.DamagedBytes > 0 && l.ParityErrors+l.FrameErrors+l.Breaks == 0 {
		all = append(all, fmt.Sprintf("%d damaged bytes", l.DamagedBytes))
	}
	if l.Garbage > 0 {
		all = append(all, conf.Size(l.Garbage).Approx()+" thrown away")
	}
	return all
}
