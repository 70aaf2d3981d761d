package buffer

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// BenchmarkOpen starts on a backlog of 256 MiB: with state.db, which vouches for
// all segments but the last, and without, when all of the journal is read.
func BenchmarkOpen(b *testing.B) {
	const backlog = 256 << 20
	cfg := Config{Dir: b.TempDir(), MaxBytes: 2 * backlog, Clock: testClock()}
	writeBacklog(b, cfg, backlog)
	for _, keep := range []bool{true, false} {
		name := "with state.db"
		if !keep {
			name = "without"
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(backlog)
			for b.Loop() {
				if !keep {
					if err := os.Remove(filepath.Join(cfg.Dir, stateFile)); err != nil {
						b.Fatal(err)
					}
				}
				buf, err := Open(cfg, slog.New(slog.DiscardHandler))
				if err != nil {
					b.Fatal(err)
				}
				if err := buf.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func writeBacklog(b *testing.B, cfg Config, bytes int) {
	b.Helper()
	buf, err := Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- buf.Run(ctx) }()
	for i := range bytes / (1 << 20) {
		var rs []reading.Reading
		for k := range 8 {
			rs = append(rs, noise("a", 8*i+k, 128<<10))
		}
		receipt, err := buf.Accept(b.Context(), rs)
		if err == nil {
			err = receipt.Wait(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
