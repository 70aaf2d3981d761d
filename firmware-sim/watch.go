package firmwaresim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tidegate/tidegate/internal/backoff"
)

// moment is how long a watch waits between two looks.
const moment = 100 * time.Millisecond

var errInterrupted = errors.New("interrupted")

// state is what the gateway says about itself.
type state struct {
	known     bool // it has answered
	waiting   uint64
	delivered uint64
}

// watch shows how a demo is doing and waits for its phases to end.
type watch struct {
	show      *display
	fleet     *Fleet
	status    string // URL
	processes []*process
	http      http.Client

	began, phase time.Time
	acked        uint64 // at the latest line
	at           time.Time
}

func newWatch(show *display, fleet *Fleet, dashboard string, processes ...*process) *watch {
	now := time.Now()
	return &watch{
		show: show, fleet: fleet, status: "http://" + dashboard + "/api/v1/status", processes: processes,
		http:  http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
		began: now, phase: now, at: now,
	}
}

// inPhase is how long the present phase has lasted.
func (w *watch) inPhase() time.Duration { return time.Since(w.phase) }

// last shows the running line for the length of a phase.
func (w *watch) last(ctx context.Context, phase string, length time.Duration) error {
	w.phase = time.Now()
	for w.inPhase() < length {
		if _, err := w.step(ctx, phase); err != nil {
			return err
		}
	}
	return nil
}

// until shows the running line until no more than so many readings have been
// waiting for a second, which rules out that an old answer is taken for a new
// one. It returns how long there were more.
func (w *watch) until(ctx context.Context, phase string, waiting uint64) (time.Duration, error) {
	w.phase = time.Now()
	above := w.phase
	for time.Since(above) < time.Second {
		s, err := w.step(ctx, phase)
		if err != nil {
			return 0, err
		}
		if !s.known || s.waiting > waiting {
			above = time.Now()
		}
		if w.inPhase() > demoPatience {
			return 0, fmt.Errorf("after %v there are still %d readings on flash — hint: see the logs with -keep",
				demoPatience, s.waiting)
		}
	}
	return above.Sub(w.phase), nil
}

// step waits a moment, asks the gateway and renews the line. A program that has
// ended by itself is an error.
func (w *watch) step(ctx context.Context, phase string) (state, error) {
	if backoff.Sleep(ctx, moment, nil) != nil {
		return state{}, errInterrupted
	}
	for _, p := range w.processes {
		if err := p.failure(); err != nil {
			return state{}, err
		}
	}
	s := w.ask(ctx)
	if time.Since(w.at) >= w.show.interval() {
		w.line(phase, s)
	}
	return s, nil
}

// ask polls the gateway's status.
func (w *watch) ask(ctx context.Context) state {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.status, nil)
	if err != nil {
		return state{}
	}
	response, err := w.http.Do(request)
	if err != nil {
		return state{}
	}
	defer response.Body.Close()
	var answer struct {
		Buffer struct {
			Waiting uint64 `json:"waiting"`
		} `json:"buffer"`
		Links []struct {
			Acked uint64 `json:"acked"`
		} `json:"links"`
	}
	if response.StatusCode != http.StatusOK || json.NewDecoder(response.Body).Decode(&answer) != nil {
		return state{}
	}
	s := state{known: true, waiting: answer.Buffer.Waiting}
	for _, link := range answer.Links {
		s.delivered += link.Acked
	}
	return s
}

func (w *watch) line(phase string, s state) {
	now, acked := time.Now(), w.fleet.Stats().Acked
	rate := float64(acked-w.acked) / now.Sub(w.at).Seconds()
	w.acked, w.at = acked, now
	waiting, delivered := "?", "?"
	if s.known {
		waiting, delivered = thousands(s.waiting), thousands(s.delivered)
	}
	w.show.renew("%s  %-11s  %7s acked/s  %10s on flash  %11s delivered",
		w.clock(), phase, thousands(uint64(rate+.5)), waiting, delivered)
}

// tell says what has just happened.
func (w *watch) tell(format string, args ...any) {
	w.show.say("%s  %s", w.clock(), fmt.Sprintf(format, args...))
}

// clock is minutes and seconds since the start.
func (w *watch) clock() string {
	seconds := int(time.Since(w.began).Seconds())
	return fmt.Sprintf("%02d:%02d", seconds/60, seconds%60)
}
