package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/internal/backoff"
	"github.com/tidegate/tidegate/uplink"
)

// restart paces the restarts of what breaks: a cable that was pulled comes back
// within seconds or within days.
const (
	restartMin = time.Second
	restartMax = 30 * time.Second
	// steady is how long it must have run to count as mended.
	steady = time.Minute
)

// stallAfter is how long a sink may be without an acknowledgement while readings
// wait, before it is replaced; twice the timeout of a message if that is longer.
const stallAfter = 10 * time.Minute

// superviseLink runs a link until ctx ends. A sink that cannot be reached is the
// forwarder's business; it returns when the buffer cannot be read, and then begins
// again at the first reading that is not delivered, or when the sink is stuck, which
// is then replaced.
func (d *Daemon) superviseLink(ctx context.Context, l *link) {
	d.again(ctx, "sink", l.name, func() error {
		d.buffer.Cursor(l.name) // back to what is not acknowledged
		err := l.forwarder.Run(ctx)
		if errors.Is(err, uplink.ErrStalled) {
			return errors.Join(err, l.renew())
		}
		return err
	})
	if err := letGo(l.sink); err != nil {
		d.log.Warn("link not closed cleanly", "sink", l.name, "err", err)
	}
}

// farewell is how long a sink may take to let go of its connections: more than any
// does that is in order.
const farewell = 20 * time.Second

// letGo closes a sink, and leaves behind one that does not end: a stop waits for this,
// and so does a change, and with it the end of a trial.
func letGo(sink uplink.Sink) error {
	closed := make(chan error, 1)
	go func() { closed <- closer(sink)() }()
	late := time.NewTimer(farewell)
	defer late.Stop()
	select {
	case err := <-closed:
		return err
	case <-late.C:
		return fmt.Errorf("its connections are not closed within %v, and left behind", farewell)
	}
}

// renew replaces the sink. The old one is closed, however long that takes it.
func (l *link) renew() error {
	fresh, err := l.open()
	if err != nil {
		return err
	}
	go closer(l.sink)()
	l.sink = fresh
	l.forwarder.Renew(fresh)
	return nil
}

// supervise runs a door until ctx ends.
func (d *Daemon) supervise(ctx context.Context, door *door) {
	d.again(ctx, "source", door.name, func() error {
		err := d.bench.restOf(door.name).run(ctx, func(ctx context.Context) error { return door.source.Run(ctx, door.intake) })
		if err != nil {
			select {
			case door.failed <- err:
			default: // that it fails is known
			}
		}
		return err
	})
}

// again calls run until ctx ends, and once more whenever it returns before. It
// owns the log line: doors and links return their errors and say nothing.
func (d *Daemon) again(ctx context.Context, kind, name string, run func() error) {
	wait := backoff.Backoff{Min: restartMin, Max: restartMax}
	d.spells.fresh(kind, name)
	for {
		began := time.Now()
		d.spells.begin(kind, name, began)
		err := run()
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > steady {
			wait.Reset()
		}
		pause := wait.Next()
		d.spells.end(kind, name, err)
		d.log.Warn("it broke and will be started again", kind, name, "in", pause.Round(time.Millisecond), "err", err)
		if backoff.Sleep(ctx, pause, nil) != nil {
			return
		}
	}
}
