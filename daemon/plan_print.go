package daemon

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/tidegate/tidegate/internal/conf"
)

// text is the plan for people: the verdict, a table, and what it assumes.
func (p plan) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", p.Verdict)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "LOAD\t%s\n", p.Load)
	bytes := readingText(p.Kept)
	if p.Kept < p.Fresh {
		bytes = fmt.Sprintf("%s, %.2g after merging", readingText(p.Fresh), p.Kept)
	}
	fmt.Fprintf(t, "BUFFER\t%v lasts for %s or more: %s\n", conf.Size(p.MaxBytes), strings.TrimSuffix(spanText(p.Holds), orMore), bytes)
	if p.Noise > 0 {
		fmt.Fprintf(t, "\t%s if values do not drift but jump, with all their digits: %d bytes more\n", spanText(p.Noise), noise)
	}
	if p.Needs > 0 {
		fmt.Fprintf(t, "\t%s take max_bytes = %q\n", spanText(p.Outage), conf.Size(p.Needs))
	}
	for _, l := range p.Uplinks {
		fmt.Fprintf(t, "UPLINK\t%s (%s): %s a day, %s in 30 days%s\n", l.Name, l.Kind, sizeText(l.Day), sizeText(l.Month), l.budget())
	}
	if p.Memory > 0 {
		fmt.Fprintf(t, "MEMORY\t%s with a connection for each device and a long backlog\n", sizeText(p.Memory))
	}
	_ = t.Flush() // to memory
	if len(p.Flash) > 0 {
		card := "THE CARD LASTS"
		if p.Endurance == 0 {
			card = ""
		}
		fmt.Fprintf(t, "\nPROFILE\tCOMMITS\tFLASH A DAY\t%s\n", card)
		for _, w := range p.Flash {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", w.name(), perText(w.Commits), rangeText(sizeText(w.Low), sizeText(w.High)), w.years())
		}
		_ = t.Flush()
	}
	if len(p.Notes) > 0 {
		b.WriteByte('\n')
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	return trimLines(b.String())
}

func (l plannedLink) budget() string {
	var all []string
	if l.DayMax > 0 {
		all = append(all, fmt.Sprintf("%v a day", conf.Size(l.DayMax)))
	}
	if l.MonthMax > 0 {
		all = append(all, fmt.Sprintf("%v a month", conf.Size(l.MonthMax)))
	}
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("; %s may be %s", l.Link, strings.Join(all, " and "))
}

func (w plannedWear) name() string {
	if w.Now {
		return w.Profile + " (configured)"
	}
	return w.Profile
}

func (w plannedWear) years() string {
	if w.Best == 0 {
		return ""
	}
	year := func(years float64) string { return spanText(min(years, 100) * 365 * 24 * 60 * 60) }
	return rangeText(year(w.Worst), year(w.Best))
}

// rangeText is "a" or "a to b".
func rangeText(low, high string) string {
	if low == high {
		return low
	}
	return low + " to " + high
}

// readingText is a size of readings in the buffer.
func readingText(bytes float64) string {
	if bytes >= 100 {
		return fmt.Sprintf("%.0f bytes a reading", bytes)
	}
	return fmt.Sprintf("%.2g bytes a reading", bytes)
}

// percentText is a share that is not zero.
func percentText(share float64) string {
	if share < 0.01 {
		return "less than 1 %"
	}
	return fmt.Sprintf("%.0f %%", 100*share)
}

func sizeText(bytes float64) string { return conf.Size(min(bytes, 1<<60)).Approx() }

// rateText is a rate of readings for people.
func rateText(perSecond float64) string {
	text := perText(perSecond)
	if strings.HasPrefix(text, "1 ") {
		return strings.Replace(text, " ", " reading ", 1)
	}
	return strings.Replace(text, " ", " readings ", 1)
}

// perText is how often something happens: "20 a second", "30 an hour".
func perText(perSecond float64) string {
	switch {
	case perSecond >= 100:
		return fmt.Sprintf("%.0f a second", perSecond)
	case perSecond >= 0.5:
		return fmt.Sprintf("%.3g a second", perSecond)
	case perSecond*60 >= 0.5:
		return fmt.Sprintf("%.3g a minute", perSecond*60)
	case perSecond*60*60 >= 0.5:
		return fmt.Sprintf("%.3g an hour", perSecond*60*60)
	}
	return fmt.Sprintf("%.3g a day", perSecond*24*60*60)
}

// century is the longest time that anything is said of, and orMore what is said then.
const (
	century = 100 * 365 * 24 * 60 * 60
	orMore  = " or more"
)

// spanText is a span of time for people, in the unit of which there are two or more.
func spanText(seconds float64) string {
	const day = 24 * 60 * 60
	switch {
	case seconds >= century:
		return "100 years" + orMore
	case seconds >= 2*365*day:
		return fmt.Sprintf("%.0f years", seconds/(365*day))
	case seconds >= 2*day:
		return fmt.Sprintf("%.0f days", seconds/day)
	case seconds >= 2*60*60:
		return fmt.Sprintf("%.0f hours", seconds/(60*60))
	}
	if seconds < 2*60 {
		return fmt.Sprintf("%.0f seconds", seconds)
	}
	return fmt.Sprintf("%.0f minutes", seconds/60)
}
