package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tidegate/tidegate/internal/bootclock"
)

// clockLook is how often the kernel is asked whether the clock has been set, which it
// tells nobody.
const clockLook = 5 * time.Second

var errClockUnset = errors.New("no time source has set the clock since boot — hint: \"timedatectl\" tells which one there is; readings are marked until then")

// clock says whether the clock is set, or waits for it and leaves a mark. The gateway's
// sandbox does not let it ask, since the call that asks is the one that sets.
func (c *opsCall) clock(ctx context.Context) error {
	return c.clockOf(ctx, bootclock.Synced, clockLook)
}

// clockOf is clock, by whatever says whether it is set, which is asked every so often.
func (c *opsCall) clockOf(ctx context.Context, synced func() bool, every time.Duration) error {
	if c.out == "" {
		if !synced() {
			return errClockUnset
		}
		_, err := fmt.Fprintln(c.stdout, "the clock is set:", time.Now().Format(time.RFC3339))
		return err
	}
	again := time.NewTicker(every)
	defer again.Stop()
	for !synced() {
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil // who stops it knows
		}
	}
	if err := os.WriteFile(c.out, nil, 0o644); err != nil {
		return fmt.Errorf("mark that the clock is set: %w", err)
	}
	return nil
}
