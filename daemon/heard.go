package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// heard keeps the last warning of each source and each other part of the gateway, so
// that somebody who asks why nothing arrives is told what the log says.
type heard struct {
	mu   sync.Mutex
	last map[string]utterance // by the value of source
}

// utterance is one line of the log.
type utterance struct {
	at   time.Time
	text string
}

// maxHeard bounds how many sources are remembered: they are tables of the
// configuration.
const maxHeard = 256

// over returns a logger that says what log says, and remembers it.
func (h *heard) over(log *slog.Logger) *slog.Logger {
	return slog.New(hearing{Handler: log.Handler(), heard: h})
}

// of returns the last warning about a source; its text is empty for none.
func (h *heard) of(source string) utterance {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last[source]
}

// hearing is a handler that listens.
type hearing struct {
	slog.Handler
	heard  *heard
	source string
}

// Enabled implements slog.Handler.
func (h hearing) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || h.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (h hearing) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		if a.Key == "source" {
			h.source = a.Value.String()
		}
	}
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

// WithGroup implements slog.Handler.
func (h hearing) WithGroup(name string) slog.Handler {
	h.Handler = h.Handler.WithGroup(name)
	return h
}

// Handle implements slog.Handler.
func (h hearing) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		h.note(r)
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h hearing) note(r slog.Record) {
	source, text, beside := h.source, r.Message, []string{}
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "source":
			source = a.Value.String()
		case "err", "why":
			text += ": " + a.Value.String()
		default:
			beside = append(beside, fmt.Sprintf("%s %v", a.Key, a.Value))
		}
		return true
	})
	if source == "" {
		return
	}
	if len(beside) > 0 {
		text += " (" + strings.Join(beside, ", ") + ")"
	}
	h.heard.mu.Lock()
	defer h.heard.mu.Unlock()
	if _, known := h.heard.last[source]; known || len(h.heard.last) < maxHeard {
		h.heard.last[source] = utterance{r.Time, text}
	}
}
