package daemon

import (
	"io"
	"log/slog"
	"os"

	"github.com/tidegate/tidegate/internal/journal"
)

// stderrIs is the file descriptor of what systemd connects to the journal.
const stderrIs = 2

// logger writes to w, which is where this process says what it does, or to the journal
// itself if w is its stream and nobody wants another format.
func logger(cfg Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // validated before
	}
	options := &slog.HandlerOptions{Level: level}
	switch {
	case cfg.Format == "json":
		return slog.New(slog.NewJSONHandler(w, options))
	case cfg.Format == "auto" && w == io.Writer(os.Stderr) && journal.IsStream(stderrIs):
		return slog.New(journal.New(journal.Config{
			Identifier: "tidegate", Prefix: "TIDEGATE_", Level: level, Fallback: &journal.Stream{FD: stderrIs},
		}))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
