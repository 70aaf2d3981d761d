package wsout

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// watch finds out that a connection is dead although nobody has closed it: when
// nothing has moved on it for as long as patience says, the other side is pinged.
// It never pings while more is under way than a slow link may still be carrying.
func (l *line) watch() {
	timer := time.NewTimer(l.patience())
	defer timer.Stop()
	for {
		select {
		case <-l.ended:
			return
		case <-l.changed:
		case <-timer.C:
		}
		left := l.patience() - l.conn.quiet()
		if left <= 0 {
			if !l.tryOut() {
				return
			}
			left = l.patience()
		}
		timer.Reset(left)
	}
}

// never is longer than any connection lasts.
const never = 1 << 62 * time.Nanosecond

// patience is how long nothing may move before a ping. When an answer is due that
// is ten seconds, and a second for each kilobyte without an answer; when none is,
// Config.Ping.
func (l *line) patience() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) > 0 {
		size := 0
		for _, w := range l.waiting {
			size += w.size
		}
		return l.times.silence + time.Duration(size)*time.Second/time.Duration(l.times.slowest)
	}
	if l.ping > 0 {
		return l.ping
	}
	return never
}

// tryOut pings, and ends the connection if nothing comes back.
func (l *line) tryOut() bool {
	ctx, cancel := context.WithTimeout(context.Background(), l.times.pong)
	defer cancel()
	before := l.conn.moved.Load()
	err := l.pinged(ctx)
	if err == nil || ctx.Err() == nil && l.works() && l.conn.moved.Load() > before {
		return true
	}
	l.fail(err)
	return false
}

// pinged sends a ping and waits for the pong.
func (l *line) pinged(ctx context.Context) error {
	err := l.ws.Ping(ctx)
	switch {
	case err == nil:
		return nil
	case !l.works():
		return l.broken()
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w — hint: the connection is dead; is there a link?", errMute)
	}
	return closed(err)
}
