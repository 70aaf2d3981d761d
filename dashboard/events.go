package dashboard

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// retryAfter is how long whoever follows waits until he connects again.
	retryAfter = 2 * time.Second
	// sayEvery is how long a stream of values says nothing at the most.
	sayEvery = 15 * time.Second
)

// serveEvents is one viewer's stream of server-sent events: the frames of the
// WebSocket for browsers behind a proxy that does not let one through, for curl
// and for other programs. LIVE.md tells the rest.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		return // and takes nobody's place
	}
	v, ok := s.admit(w, s.hub.after(r.Header.Get("Last-Event-ID")), r.URL.Query().Has("values"))
	if !ok {
		return
	}
	defer s.hub.leave(v)
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx would collect events before it passes them on
	out := http.NewResponseController(w)
	err := out.SetReadDeadline(time.Time{}) // nothing more is read, and that is no reason to hang up
	if err == nil {
		err = v.stream(w, out, r.Context().Done())
	}
	s.log.Debug("viewer left", "err", err)
}

// stream writes events until the viewer leaves or is too slow, or the hub or the
// server ends.
func (v *viewer) stream(w http.ResponseWriter, out *http.ResponseController, stopped <-chan struct{}) error {
	write := func(before string, text []byte) error {
		err := out.SetWriteDeadline(time.Now().Add(patience(len(text))))
		if err == nil {
			_, err = io.WriteString(w, before)
		}
		if err == nil {
			_, err = w.Write(text) // viewers share it
		}
		if err == nil {
			_, err = io.WriteString(w, "\n\n")
		}
		return errors.Join(err, out.Flush())
	}
	if err := write(fmt.Sprintf("retry: %d", retryAfter.Milliseconds()), nil); err != nil {
		return err
	}
	ping := time.NewTicker(sayEvery)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-stopped:
			return errEnded
		case m, ok := <-v.frames:
			if !ok {
				return errEnded
			}
			ping.Reset(sayEvery)
			err = write("id: "+v.hub.mark(m.seq)+"\ndata: ", m.text)
			v.more()
		case <-ping.C:
			err = write(": ping", nil)
		}
		if err != nil {
			return err
		}
	}
}
