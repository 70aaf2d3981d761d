package uplink

import (
	"fmt"
	"time"
)

// partingGrace is how long Run waits for a Send whose context has ended. One that
// takes longer is left behind: it holds a message, and nothing waits for it.
const partingGrace = 10 * time.Second

// watchdog notices that nothing is acknowledged although it could be.
type watchdog struct {
	limit  time.Duration // 0 for never
	since  time.Time     // the latest progress; zero while there is nothing to wait for
	barked <-chan time.Time
}

// watch looks after each change. Time counts from the moment when there was
// something to send; an acknowledgement, or a gate that closes, ends it.
func (fl *flow) watch() {
	w := &fl.dog
	switch {
	case w.limit == 0:
	case !fl.isDue():
		*w = watchdog{limit: w.limit}
	case w.since.IsZero():
		w.progress()
	}
}

// progress begins to count anew.
func (w *watchdog) progress() {
	if w.limit > 0 {
		w.since, w.barked = time.Now(), time.After(w.limit)
	}
}

// isDue reports whether something is on its way, or could be. A delay that the
// other side asked for is not ours to judge.
func (fl *flow) isDue() bool {
	if fl.link.held() && fl.link.asked {
		return false
	}
	for _, d := range fl.queue {
		if d.state == sending || fl.mayTravel(d) && fl.company(d) == 0 {
			return true
		}
	}
	return false
}

// stalled is the error that ends a Run.
func (fl *flow) stalled() error {
	err := fmt.Errorf("%w for %v", ErrStalled, fl.dog.limit)
	if last := fl.stats.LastError; last != "" {
		err = fmt.Errorf("%w; the last error was: %s", err, last)
	}
	return err
}

// part waits for the goroutines of the flow, a grace at the most, and concludes
// what has arrived.
func (fl *flow) part() {
	ended := make(chan struct{})
	go func() {
		fl.tasks.Wait()
		close(ended)
	}()
	grace := time.NewTimer(partingGrace)
	defer grace.Stop()
	for {
		select {
		case r := <-fl.sent:
			if r.err == nil {
				fl.accept(r)
			}
		case <-ended:
			if len(fl.sent) == 0 {
				return
			}
		case <-grace.C:
			return
		}
	}
}
