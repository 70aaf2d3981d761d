package api

import (
	"fmt"
	"strings"
)

// steps puts the way of a reading into words.
func (t Traced) steps() []Step {
	by := "by the device's clock"
	if t.Stamped {
		by = "stamped by the gateway"
	}
	all := []Step{{Mood: "ok", Title: "Measured", Text: at(t.Measured) + ", " + by}}
	if t.Stored == 0 {
		all = append(all, Step{Mood: "ok", Title: "On flash", Text: before(t.StoredBefore)})
	} else {
		came := at(t.Received)
		if t.ReceivedBy != t.Received {
			came += " to " + at(t.ReceivedBy)
		}
		if len(t.Doors) > 0 {
			came += ", by " + strings.Join(t.Doors, " or ")
		}
		all = append(all, Step{Mood: "ok", Title: "Received", Text: came},
			Step{Mood: "ok", Title: "On flash", Text: fmt.Sprintf("%s, within %.1f ms", at(t.Stored), t.Took)})
	}
	for _, p := range t.Links {
		all = append(all, p.step())
	}
	return all
}

func at(ms int64) string { return fmt.Sprintf("{%d}", ms) }

func before(ms int64) string { return "before " + at(ms) + ", as far as is remembered" }

// step puts into words where a reading is with one door out.
func (p Passage) step() Step {
	var said []string
	if p.Sent != 0 {
		text := fmt.Sprintf("sent %s in %d bytes with %s", at(p.Sent), p.Bytes, others(p.Others))
		if p.Tries > 1 {
			text += fmt.Sprintf(", try %d at %s", p.Tries, at(p.Tried))
		}
		said = append(said, text)
	}
	s := Step{Title: p.Link, Why: p.Why}
	switch p.State {
	case "acked":
		s.Mood = "ok"
		if p.Acked != 0 {
			said = append(said, "acknowledged "+at(p.Acked))
		} else {
			said = append(said, "acknowledged "+before(p.AckedBefore))
		}
	case "sent":
		s.Mood = "idle"
		said = append(said, "not acknowledged yet")
	case "refused":
		s.Mood = "bad"
		said = append(said, "refused, and set aside as "+p.Block)
	case "lost":
		s.Mood = "bad"
		said = append(said, "will not arrive")
	case "empty":
		s.Mood = "bad"
		said = append(said, "left out: the encoding has no words for it")
	default:
		s.Mood = "idle"
		text := "waits"
		if p.Ahead > 0 {
			text += " behind " + counted(p.Ahead, "older one")
		}
		said = append(said, text)
	}
	s.Text = strings.Join(said, "; ")
	return s
}

func others(n int) string {
	if n == 0 {
		return "nothing else"
	}
	return counted(uint64(n), "other")
}

func counted(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
