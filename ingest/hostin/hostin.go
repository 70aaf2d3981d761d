// Package hostin is the door by which the machine itself comes in: how warm and
// how busy it is, and what memory, disk and network it has left, read from /proc
// and /sys.
//
// By default its readings are only shown: they pass neither the intake nor the
// flash, and no link carries them. What a machine does not tell is left out.
package hostin

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// Config says what is read, and what becomes of it.
type Config struct {
	// Device is the name under which the machine speaks.
	Device string
	// Every is the time between two looks.
	Every time.Duration
	// Show takes the readings instead of the intake; nil has them kept like others.
	Show func([]reading.Reading)
	// Proc and Sys are /proc and /sys where they are nil.
	Proc, Sys fs.FS
	// Disk says how many bytes of the data directory's file system are free for the
	// gateway, and how many there are; nil for nothing.
	Disk func() (free, size uint64, err error)
}

// Source is the door.
type Source struct {
	config Config
	last   counters
}

// New returns a Source that does not run yet.
func New(c Config) *Source {
	if c.Proc == nil {
		c.Proc = unpolled("/proc")
	}
	if c.Sys == nil {
		c.Sys = unpolled("/sys")
	}
	return &Source{config: c}
}

// settling is the time from the start to the first readings, and what their rates are
// of: whoever has just opened the page should not wait for them.
const settling = 300 * time.Millisecond

// Run implements [ingest.Source].
func (s *Source) Run(ctx context.Context, intake *ingest.Intake) error {
	s.last = counters{} // what was counted before a pause is no rate
	s.look(time.Now())
	next := time.NewTimer(settling)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		if err := s.give(ctx, intake, s.look(time.Now())); err != nil {
			return err
		}
		next.Reset(s.config.Every)
	}
}

// give hands the readings over. There is nobody to acknowledge to, so nothing waits
// for the receipt; those for which the buffer has no room are counted there.
func (s *Source) give(ctx context.Context, intake *ingest.Intake, rs []reading.Reading) error {
	if s.config.Show != nil || len(rs) == 0 {
		s.show(rs)
		return nil
	}
	_, err := intake.Accept(ctx, rs)
	if err == nil || errors.Is(err, ingest.ErrFull) || ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *Source) show(rs []reading.Reading) {
	if s.config.Show != nil {
		s.config.Show(rs)
	}
}
