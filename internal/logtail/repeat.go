package logtail

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// window is how long repeats are counted before they are told of.
	window = time.Minute
	// mostKinds bounds the kinds that are watched at once.
	mostKinds = 64
)

// repeats are the kinds of records that were said within the window.
type repeats struct{ all []repeat } // in order of their beginning

// repeat is a kind of record, and those that came after the first.
type repeat struct {
	kind  string
	began time.Time
	n     int
	by    *Tail
	last  slog.Record
}

// isNew reports whether a record must be said. If not, it is counted.
func (rs *repeats) isNew(kind string, by *Tail, r slog.Record, now time.Time) bool {
	at := slices.IndexFunc(rs.all, func(o repeat) bool { return o.kind == kind })
	if at >= 0 {
		o := &rs.all[at]
		o.n, o.by, o.last = o.n+1, by, r.Clone()
		return false
	}
	if len(rs.all) < mostKinds {
		rs.all = append(rs.all, repeat{kind: kind, began: now})
	}
	return true
}

// expire takes out what began a window ago, and returns what was repeated. That
// goes on being watched.
func (rs *repeats) expire(now time.Time) (over []repeat) {
	rs.all = slices.DeleteFunc(rs.all, func(o repeat) bool {
		gone := now.Sub(o.began) >= window
		if gone && o.n > 0 {
			over = append(over, o)
		}
		return gone
	})
	for _, o := range over {
		rs.all = append(rs.all, repeat{kind: o.kind, began: now})
	}
	return over
}

// sentence is the last record, which says how many there were, and that number if
// it is not just the one.
func (o repeat) sentence() (slog.Record, int) {
	if o.n == 1 {
		return o.last, 0
	}
	r := slog.NewRecord(o.last.Time, o.last.Level, fmt.Sprintf("%s … %d more in %d s", o.last.Message, o.n, int(window.Seconds())), o.last.PC)
	o.last.Attrs(func(a slog.Attr) bool {
		r.AddAttrs(a)
		return true
	})
	return r, o.n
}

// writeAttrs returns a handler that writes the attributes of a record as text.
func writeAttrs(w *bytes.Buffer, change func(slog.Attr) slog.Attr) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return change(a)
	}})
}

func unchanged(a slog.Attr) slog.Attr { return a }

// withoutNumbers leaves out what differs from one record of a kind to the next:
// numbers and times, digits in the text of errors, and the port that a peer
// happens to come from.
func withoutNumbers(a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindDuration, slog.KindTime:
		return slog.String(a.Key, "")
	case slog.KindString:
		if peer, err := netip.ParseAddrPort(a.Value.String()); err == nil {
			return slog.String(a.Key, peer.Addr().String())
		}
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok {
			return slog.String(a.Key, withoutDigits(fmt.Sprint(err)))
		}
	}
	return a
}

func withoutDigits(text string) string {
	return strings.Map(func(c rune) rune {
		if '0' <= c && c <= '9' {
			return -1
		}
		return c
	}, text)
}
