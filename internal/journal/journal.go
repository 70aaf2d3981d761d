// Package journal is a slog.Handler that writes to systemd's journal in its native
// protocol (systemd's document "Native Journal Protocol"), so that each attribute is a
// field that can be asked for:
//
//	journalctl -u tidegate TIDEGATE_EVENT=wrong_password
//
// A record becomes PRIORITY, MESSAGE, SYSLOG_IDENTIFIER, and a field for each attribute,
// named in capitals behind a prefix of one's own: no attribute can clash with a field
// that has a meaning already, or pass for one.
//
// The journal may be away, or slow. That stops nobody: a record that it does not take at
// once goes to a fallback as a line of text with its priority in front (sd-daemon(3)),
// and one that neither takes is counted, which the next record tells.
package journal

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Socket is where the journal takes records.
const Socket = "/run/systemd/journal/socket"

// Config says how to write.
type Config struct {
	// Identifier is SYSLOG_IDENTIFIER, which "journalctl -t" asks for.
	Identifier string
	// Prefix begins the names of the fields that attributes become: capitals, digits and
	// underscores, a capital first.
	Prefix string
	// Level is the lowest that is written; nil for info.
	Level slog.Leveler
	// Socket is that of the journal; empty for [Socket].
	Socket string
	// Fallback takes the lines that the journal does not, a Write a line; nil for nobody.
	// It should not block: see [Stream].
	Fallback io.Writer
}

// Log is a slog.Handler.
type Log struct {
	*sender
	level  slog.Leveler
	prefix string // of the next field: that of Config, and the groups
	group  string // of the next key in MESSAGE
	given  entry  // what With has added
}

// New returns a Log. It opens nothing before the first record.
func New(c Config) *Log {
	if c.Level == nil {
		c.Level = slog.LevelInfo
	}
	if c.Socket == "" {
		c.Socket = Socket
	}
	if c.Fallback == nil {
		c.Fallback = io.Discard
	}
	s := &sender{identifier: c.Identifier, prefix: c.Prefix, socket: c.Socket, fallback: c.Fallback, fd: closed}
	return &Log{sender: s, level: c.Level, prefix: c.Prefix}
}

// Enabled implements slog.Handler.
func (h *Log) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level.Level() }

// WithAttrs implements slog.Handler.
func (h *Log) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	n.given = h.given.clone()
	for _, a := range attrs {
		n.given.add(h.prefix, h.group, a)
	}
	return &n
}

// WithGroup implements slog.Handler.
func (h *Log) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	n := *h
	n.prefix, n.group = h.prefix+fieldName("", name)+"_", h.group+name+"."
	return &n
}

// Handle implements slog.Handler. It never waits, and returns no error: there is nobody
// who could be told that a log cannot be written.
func (h *Log) Handle(_ context.Context, r slog.Record) error {
	e := h.given.clone()
	r.Attrs(func(a slog.Attr) bool {
		e.add(h.prefix, h.group, a)
		return true
	})
	h.send(priority(r.Level), e.sentence(r.Message), &e)
	return nil
}

// priority is that of syslog(3): 7 debug, 6 info, 5 notice, 4 warning, 3 err, 2 crit.
func priority(level slog.Level) int {
	switch {
	case level < slog.LevelInfo:
		return 7
	case level < slog.LevelInfo+2:
		return 6
	case level < slog.LevelWarn:
		return 5
	case level < slog.LevelError:
		return 4
	case level < slog.LevelError+4:
		return 3
	}
	return 2
}

// IsStream reports whether a file descriptor is the stream that systemd connects to the
// journal: JOURNAL_STREAM says which device and inode that has (systemd.exec(5)). It is
// another file's when somebody redirected the output.
func IsStream(fd int) bool { return isStream(fd, os.Getenv("JOURNAL_STREAM")) }

func isStream(fd int, stream string) bool {
	dev, inode, ok := strings.Cut(stream, ":")
	d, errD := strconv.ParseUint(dev, 10, 64)
	i, errI := strconv.ParseUint(inode, 10, 64)
	var is syscall.Stat_t
	return ok && errD == nil && errI == nil && syscall.Fstat(fd, &is) == nil && uint64(is.Dev) == d && is.Ino == i
}
