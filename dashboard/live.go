package dashboard

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

const (
	// readLimit bounds a message from the page, in bytes. The page sends none.
	readLimit = 4096
	// writeTimeout is how long a viewer may take for one frame, and slowest is
	// the speed in bytes a second at which a large one is still fast enough.
	writeTimeout = 5 * time.Second
	slowest      = 32 << 10
	// A viewer that vanished without a word is found out by a ping.
	pingEvery   = 30 * time.Second
	pingTimeout = 10 * time.Second
)

// serveLive is one viewer's WebSocket, from the handshake to its end.
func (s *Server) serveLive(w http.ResponseWriter, r *http.Request) {
	s.live.Add(1)
	defer s.live.Done()
	v, ok := s.admit(w, 0, false)
	if !ok {
		return
	}
	defer s.hub.leave(v)
	// Accept refuses an Origin other than this host, and answers for itself.
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(readLimit)
	// The end of a read's context cuts the connection off, and the viewer would
	// not be told why: what ends the server is watched apart.
	err = v.watch(conn.CloseRead(context.WithoutCancel(r.Context())), r.Context(), conn)
	s.log.Debug("viewer left", "err", err)
}

// signedOut is the code with which the WebSocket of a session is closed that has
// ended.
const signedOut = 4401

// admit lets a viewer in, or says that there are too many.
func (s *Server) admit(w http.ResponseWriter, since uint64, only bool) (v *viewer, ok bool) {
	v, err := s.hub.join(since, only)
	if err != nil {
		w.Header().Set("Retry-After", "5")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
	return v, err == nil
}

// errEnded means that the gateway, not the viewer, ended the connection.
var errEnded = errors.New("hub ended")

// watch writes frames and pings until the viewer leaves or fails, or the hub, the
// server or the viewer's session ends. While it waits for a write the hub merges
// later frames.
func (v *viewer) watch(ctx, served context.Context, conn *websocket.Conn) error {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-served.Done():
			if context.Cause(served) == errSignedOut {
				return conn.Close(signedOut, errSignedOut.Error())
			}
			return sayGoodbye(conn)
		case m, ok := <-v.frames:
			if !ok {
				return sayGoodbye(conn)
			}
			err = within(ctx, patience(len(m.text)), func(ctx context.Context) error {
				return conn.Write(ctx, websocket.MessageText, m.text)
			})
			v.more()
		case <-ping.C:
			err = within(ctx, pingTimeout, conn.Ping)
		}
		if err != nil {
			return err
		}
	}
}

func sayGoodbye(conn *websocket.Conn) error {
	_ = conn.Close(websocket.StatusGoingAway, "the gateway is stopping")
	return errEnded
}

// patience is how long the write of n bytes may take.
func patience(n int) time.Duration {
	return writeTimeout + time.Duration(n)*time.Second/slowest
}

// within calls f with a context that ends after d.
func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f(ctx)
}
