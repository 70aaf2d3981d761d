package daemon

import (
	"context"
	"time"

	"github.com/tidegate/tidegate/internal/backoff"
)

// restart paces the restarts of a door that breaks: a cable that was pulled
// comes back within seconds or within days.
const (
	restartMin = time.Second
	restartMax = 30 * time.Second
	// steady is how long a door must have run to count as mended.
	steady = time.Minute
)

// supervise runs a door until ctx ends, and again whenever it breaks. It owns
// the log line: doors return their errors and say nothing.
func (d *Daemon) supervise(ctx context.Context, door door) {
	again := backoff.Backoff{Min: restartMin, Max: restartMax}
	for {
		began := time.Now()
		err := door.source.Run(ctx, door.intake)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > steady {
			again.Reset()
		}
		wait := again.Next()
		d.log.Warn("door broke and will be opened again", "source", door.name, "in", wait.Round(time.Millisecond), "err", err)
		if backoff.Sleep(ctx, wait, nil) != nil {
			return
		}
	}
}
