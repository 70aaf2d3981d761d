package dashboard

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"
)

// viewer is one open page, or whoever else is shown what happens.
type viewer struct {
	hub *Hub
	// frames is the viewer's one slot. Only the hub sends and closes.
	frames chan message
	only   bool // wants values, and nothing of the state of the gateway

	// Guarded by Hub.shown:

	// since is the tick up to which the viewer has been given everything.
	since uint64
	// sayings is of which status it was told.
	sayings uint64
	// ready says that it waits for a frame. One that is still busy with the last
	// one gets a later one, with the changes merged.
	ready bool
}

// message is an encoded frame.
type message struct {
	seq  uint64
	text []byte
}

// kind is what viewers have in common who get the same frame.
type kind struct {
	since          uint64
	status, points bool
}

// needs says what the viewer must be told; ok is false for nothing, or nothing
// yet: whoever wants to know the state waits for it. The caller holds shown.
func (v *viewer) needs() (k kind, ok bool) {
	h := v.hub
	k = kind{since: v.since, points: !v.only}
	switch {
	case !v.ready:
		return k, false
	case v.only:
		return k, v.since == 0 || v.since < h.changed
	}
	told := h.said != nil && h.up()-h.saidAt < 2*h.config.Heartbeat.Milliseconds()
	if v.since == 0 || v.sayings == 0 {
		k.status = true
		return k, told
	}
	k.status = v.sayings != h.sayings
	return k, k.status || v.since < h.changed
}

// show fills the slot of every viewer who waits and for whom there is something.
// Viewers who need the same share one encoded frame. It returns the size of the
// largest one, those apart that tell everything. The caller holds shown.
func (h *Hub) show(f *frame) (largest int, err error) {
	encoded := make(map[kind][]byte, 2)
	for v := range h.viewers {
		k, ok := v.needs()
		if !ok {
			continue
		}
		text, ok := encoded[k]
		if !ok {
			f.Status = nil
			if k.status {
				f.Status = h.saying(f.Up)
			}
			if text, err = f.encode(h.table, k); err != nil {
				return 0, err
			}
			encoded[k] = text
		}
		if k.since > 0 {
			largest = max(largest, len(text))
		}
		v.ready = false
		v.since = f.Seq
		if k.status {
			v.sayings = h.sayings
		}
		v.frames <- message{f.Seq, text}
	}
	return largest, nil
}

// saying is the last status, with the time of now.
func (h *Hub) saying(up int64) *Status {
	s := *h.said
	s.Now += up - h.saidAt
	return &s
}

// look asks for the state of the gateway once a heartbeat, while somebody
// watches. The answer may take its time, which is why no turn waits for it.
func (h *Hub) look(ctx context.Context) {
	beat := time.NewTimer(0)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.joined:
		case <-beat.C:
		}
		due, watched := h.due()
		if watched && due <= 0 {
			h.tell(h.status())
			due = h.config.Heartbeat
		}
		if watched {
			beat.Reset(due)
		}
	}
}

// due says when the state must be asked for again, and whether somebody wants to
// know it.
func (h *Hub) due() (in time.Duration, watched bool) {
	h.shown.Lock()
	defer h.shown.Unlock()
	for v := range h.viewers {
		watched = watched || !v.only
	}
	if h.said == nil {
		return 0, watched
	}
	return h.config.Heartbeat - time.Duration(h.up()-h.saidAt)*time.Millisecond, watched
}

// tell has the viewers told the state of the gateway.
func (h *Hub) tell(s Status) {
	h.shown.Lock()
	defer h.shown.Unlock()
	h.said, h.saidAt = &s, h.up()
	h.sayings++
	for v := range h.viewers {
		if v.sayings == 0 && !v.only {
			signal(h.hurry)
		}
	}
	signal(h.wake)
}

// errCrowded means that MaxViewers pages are open, or that the hub has ended.
var errCrowded = errors.New("too many viewers — hint: close the page on another device")

// join admits a viewer who has been given everything up to the tick since, if the
// hub still knows what came after it; 0 is for whoever has nothing. only says that
// he wants values alone. leave lets him go.
func (h *Hub) join(since uint64, only bool) (*viewer, error) {
	h.shown.Lock()
	defer h.shown.Unlock()
	if h.ended || len(h.viewers) >= h.config.MaxViewers {
		return nil, errCrowded
	}
	if since < h.forgot || since > h.tick {
		since = 0
	}
	v := &viewer{hub: h, frames: make(chan message, 1), only: only, since: since, ready: true}
	h.viewers[v] = struct{}{}
	signal(h.joined)
	signal(h.hurry)
	return v, nil
}

func (h *Hub) leave(v *viewer) {
	h.shown.Lock()
	defer h.shown.Unlock()
	delete(h.viewers, v)
}

// more says that the viewer has dealt with its frame and waits for the next one.
func (v *viewer) more() {
	v.hub.shown.Lock()
	defer v.hub.shown.Unlock()
	v.ready = true
	if _, ok := v.needs(); ok {
		signal(v.hub.wake)
	}
}

// Values returns a frame, as LIVE.md describes it, with the latest value of every
// series. It is one of the viewers for a moment, and an error means that there are
// too many.
func (h *Hub) Values(ctx context.Context) ([]byte, error) {
	v, err := h.join(0, true)
	if err != nil {
		return nil, err
	}
	defer h.leave(v)
	select {
	case m, ok := <-v.frames:
		if !ok {
			return nil, errCrowded
		}
		return m.text, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// dismiss tells every viewer that the hub has ended.
func (h *Hub) dismiss() {
	h.shown.Lock()
	defer h.shown.Unlock()
	h.ended = true
	for v := range h.viewers {
		close(v.frames)
	}
	clear(h.viewers)
}

// mark names a tick of this hub, for whoever comes back later.
func (h *Hub) mark(seq uint64) string { return h.id + "-" + strconv.FormatUint(seq, 10) }

// after is the tick that mark has named; 0 for that of another hub, or none.
func (h *Hub) after(mark string) uint64 {
	id, seq, _ := strings.Cut(mark, "-")
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil || id != h.id {
		return 0
	}
	return n
}
