package daemon

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/internal/identify"
	"github.com/tidegate/tidegate/internal/logtail"
)

// watch is what a Daemon has for those who watch it.
type watch struct {
	tail   *logtail.Tail
	signal *identify.Signal
	growth growth
	lull   lull
	came   chan struct{} // receives when readings have come, through whatever door
	stops  atomic.Bool   // the daemon is about to end
}

func newWatch(tail *logtail.Tail) *watch {
	return &watch{tail: tail, growth: growth{seen: make(map[string]grown)}, lull: lull{seen: make(map[string]heard)}, came: make(chan struct{}, 1)}
}

// unwell says why the buffer takes no readings; nothing if it does.
func (d *Daemon) unwell() []string {
	if problem := d.buffer.Stats().Problem; problem != "" {
		return []string{"nothing is acknowledged: " + problem}
	}
	return nil
}

// unready says why readings do not come in yet, or not any more. The page answers
// once everything is built and the buffer is open; what is left are doors that do
// not listen. A device that is not plugged in does not keep the others waiting.
func (d *Daemon) unready() []string {
	why := d.unwell()
	if d.stops.Load() {
		why = append(why, "the gateway stops")
	}
	for _, door := range d.current().doorStatus() {
		if door.State == notListening {
			why = append(why, door.Name+" "+door.State)
		}
	}
	return why
}

// doorsEvery is how often the doors are looked at while readings come.
const doorsEvery = 5 * time.Second

// watchDoors notes when readings come, until ctx ends. The doors themselves have
// more to do than to look at the clock for every reading.
func (d *Daemon) watchDoors(ctx context.Context) error {
	next := time.NewTimer(doorsEvery)
	defer next.Stop()
	for {
		select {
		case <-d.came:
		case <-ctx.Done():
			return nil
		}
		next.Reset(doorsEvery)
		select {
		case <-next.C:
		case <-ctx.Done():
			return nil
		}
		for _, door := range d.current().doors {
			d.lull.note(door.name, door.taken(), time.Now())
		}
	}
}
