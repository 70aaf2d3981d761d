package daemon

import (
	"log/slog"
	"regexp"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/internal/logtail"
)

// lastWarning is the last warning of the log about a source, as far as it is kept.
func (d *Daemon) lastWarning(source string) (logtail.Record, bool) {
	about := "source=" + source
	if strings.ContainsAny(source, ` ="`) {
		about = "source=" + strconv.Quote(source)
	}
	records := d.tail.After(0, slog.LevelWarn).Records
	for i := len(records) - 1; i >= 0; i-- {
		if r := records[i]; strings.Contains(" "+r.About+" ", " "+about+" ") {
			return r, true
		}
	}
	return logtail.Record{}, false
}

var attribute = regexp.MustCompile(`([\w.]+)=("(?:[^"\\]|\\.)*"|\S*)`)

// worded puts a record into words: what it says, why, and what else it is about.
func worded(r logtail.Record) string {
	text, beside := r.Text, []string{}
	for _, m := range attribute.FindAllStringSubmatch(r.About, -1) {
		key, value := m[1], m[2]
		if plain, err := strconv.Unquote(value); err == nil {
			value = plain
		}
		switch key {
		case "source":
		case "err", "why":
			text += ": " + value
		default:
			beside = append(beside, key+" "+value)
		}
	}
	if len(beside) > 0 {
		text += " (" + strings.Join(beside, ", ") + ")"
	}
	return text
}
