package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tidegate/tidegate/dashboard"
)

// rest lets a door pause while somebody works at its line: its run is ended, and
// begins anew when they have done. What it had taken is in custody before.
type rest struct {
	mu    sync.Mutex
	held  chan struct{}      // closed when it is let go; nil while nobody holds it
	stop  context.CancelFunc // of the run that goes on; nil if none does
	ended chan struct{}      // closed when that run has ended
	asked bool               // that run was told to end by somebody who holds the door, or did
}

// restOf returns the rest of the door with the name.
func (w *workbench) restOf(door string) *rest {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rests[door] == nil {
		w.rests[door] = new(rest)
	}
	return w.rests[door]
}

// resting says whether the door pauses.
func (w *workbench) resting(door string) bool {
	r := w.restOf(door)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held != nil
}

// pausedState is the state of a door that rests.
const pausedState = "pauses while somebody works at its line"

// pausedDoors says of the doors that rest that they do.
func (w *workbench) pausedDoors(doors []dashboard.Door) []dashboard.Door {
	for i := range doors {
		if w.resting(doors[i].Name) {
			doors[i].State = pausedState
		}
	}
	return doors
}

// run runs a door whenever nobody holds it, until it ends by itself or with ctx.
func (r *rest) run(ctx context.Context, door func(context.Context) error) error {
	for {
		run, held := r.begin(ctx)
		if held != nil {
			select {
			case <-held:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		err := door(run)
		if !r.end() || ctx.Err() != nil {
			return err
		}
	}
}

// begin returns the context of a run, or what to wait for before it.
func (r *rest) begin(ctx context.Context) (run context.Context, held <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held != nil {
		return nil, r.held
	}
	run, r.stop = context.WithCancel(ctx)
	r.ended, r.asked = make(chan struct{}), false
	return run, nil
}

// end says whether the run was ended by somebody who holds the door, or did: who waited
// until it lets go may have given up.
func (r *rest) end() (asked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop()
	close(r.ended)
	r.stop, r.ended = nil, nil
	return r.asked
}

// hold ends the run that goes on, and keeps others from beginning until release is
// called.
func (r *rest) hold(ctx context.Context) (release func(), err error) {
	r.mu.Lock()
	if r.held != nil {
		r.mu.Unlock()
		return nil, fmt.Errorf("the door pauses for somebody else already — hint: wait until they have done")
	}
	held, ended := make(chan struct{}), r.ended
	r.held = held
	if r.stop != nil {
		r.stop()
		r.asked = true
	}
	r.mu.Unlock()
	release = sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.held = nil
		close(held)
	})
	if ended == nil {
		return release, nil
	}
	late := time.NewTimer(takeTime)
	defer late.Stop()
	select {
	case <-ended:
		return release, nil
	case <-ctx.Done():
		err = context.Cause(ctx) // somebody may have taken the port over
	case <-late.C:
		err = fmt.Errorf("the door does not let go of its port within %v — hint: \"tidegate status\" tells what it waits for", takeTime)
	}
	release()
	return nil, err
}
