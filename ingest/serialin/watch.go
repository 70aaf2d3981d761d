package serialin

import (
	"context"
	"time"

	"github.com/tidegate/tidegate/internal/plugged"
)

// portWatch says when to look for a device that is away.
type portWatch struct {
	s     *Source
	next  *time.Timer   // fires when it is time
	told  chan struct{} // receives when a port may have come
	until time.Time     // the hurry lasts
	deaf  <-chan error  // delivers when nobody is told of anything any more
	end   func()
}

// watchPorts watches until end is called. It begins in a hurry: most cables that are
// pulled out are put back at once.
func (s *Source) watchPorts(ctx context.Context) *portWatch {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	w := &portWatch{s: s, next: time.NewTimer(s.look), told: make(chan struct{}, 1), deaf: ended}
	go func() {
		ended <- plugged.Watch(ctx, func() {
			select {
			case w.told <- struct{}{}:
			default: // it knows already
			}
		}, nil)
	}()
	w.end = func() {
		cancel()
		if w.deaf != nil {
			<-w.deaf
		}
		w.next.Stop()
	}
	w.hurry()
	return w
}

func (w *portWatch) hurry() { w.until = time.Now().Add(w.s.haste) }

// again sets the time of the next look. Rare looks fall on the same moments for all
// doors, so that they wake the machine together.
func (w *portWatch) again() {
	select {
	case <-w.deaf:
		w.deaf = nil
	default:
	}
	now := time.Now()
	if w.deaf == nil || now.Before(w.until) {
		w.next.Reset(w.s.look)
		return
	}
	w.next.Reset(untilNext(now, w.s.rest))
}

// untilNext returns how long it is to the next whole multiple of every.
func untilNext(now time.Time, every time.Duration) time.Duration {
	return every - time.Duration(now.UnixNano()%int64(every))
}
