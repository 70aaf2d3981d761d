package cloud

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// StreamProtocol is the WebSocket subprotocol of deliveries; see
// docs/connect/websocket-uplink.md.
const StreamProtocol = "tidegate.v1"

const (
	// limitHeader tells a gateway how large a body may be, before it sends one.
	limitHeader = "Tidegate-Max-Body"
	// atOnce is how many messages of one connection are worked on at once; the
	// next is not read before one of them has its answer.
	atOnce = 16
	// maxHead bounds the first line of a message in bytes.
	maxHead = 1 << 10
	// messageTimeout is how long a message may take to come, as a request may.
	messageTimeout = 5 * time.Minute
	// answerTimeout is how long a gateway may take to accept an answer.
	answerTimeout = 30 * time.Second
	// A gateway of which nothing is heard for as long as silence is pinged. Gateways
	// ping every five minutes themselves.
	silence     = 12 * time.Minute
	pongTimeout = 30 * time.Second
)

// stream is one gateway's WebSocket.
type stream struct {
	r     *Receiver
	ws    *websocket.Conn
	below *below
	token [32]byte
	media string        // of the message before
	slots chan struct{} // held by those that are worked on
	tasks sync.WaitGroup
	begun time.Time
	heard atomic.Int64 // when something came, in nanoseconds since begun
}

// isStream reports whether the request is the handshake of a WebSocket.
func isStream(req *http.Request) bool {
	return req.Method == http.MethodGet && strings.EqualFold(req.Header.Get("Upgrade"), "websocket")
}

// serveStream takes deliveries over a WebSocket until the gateway leaves or
// fails, or the Receiver is closed. An error is for the answer to the handshake.
func (r *Receiver) serveStream(w http.ResponseWriter, req *http.Request) error {
	token, err := r.admit(req)
	if err != nil {
		return err
	}
	// A page in a browser cannot show a token; but where none is asked for, a
	// lured one might reach this machine by a name of its own.
	if origin := req.Header.Get("Origin"); origin != "" && len(r.tokens) == 0 && !loopback(req.Host) {
		return refuse(http.StatusForbidden, "deliver from a gateway", "a page of %.100q wants to deliver", origin)
	}
	if !r.streams.join() {
		return refuse(http.StatusServiceUnavailable, "nothing is lost, come again later", "too many connections, or stopping")
	}
	defer r.streams.leave()
	w.Header().Set("Server", "tidegate-cloud")
	w.Header().Set(limitHeader, strconv.FormatInt(r.maxBody, 10))
	s := &stream{r: r, token: token, below: &below{ResponseWriter: w}, slots: make(chan struct{}, atOnce), begun: time.Now()}
	s.ws, err = websocket.Accept(s.below, req, &websocket.AcceptOptions{
		Subprotocols:    []string{StreamProtocol},
		CompressionMode: websocket.CompressionNoContextTakeover,
		OnPingReceived:  func(context.Context, []byte) bool { s.note(); return true },
		OnPongReceived:  func(context.Context, []byte) { s.note() },
	})
	if err != nil {
		return nil // Accept has answered
	}
	defer s.ws.CloseNow()
	if s.ws.Subprotocol() != StreamProtocol {
		s.ws.Close(websocket.StatusProtocolError, "speak "+StreamProtocol)
		return nil
	}
	s.serve()
	return nil
}

func (s *stream) note() { s.heard.Store(int64(time.Since(s.begun))) }

// serve reads message after message. Each is worked on beside the others, so that
// those of one gateway share a commit, too. At the end everything has its answer
// before the goodbye.
func (s *stream) serve() {
	// What is larger than it may be is passed over and refused, up to here.
	s.ws.SetReadLimit(2*s.r.maxBody + maxHead)
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { s.watch(done) })
	var err error
	for err == nil {
		err = s.next()
	}
	s.tasks.Wait()
	close(done)
	watching.Wait()
	var wrong *violation
	switch {
	case errors.As(err, &wrong):
		s.ws.Close(websocket.StatusProtocolError, wrong.what)
	case s.r.streams.stopped():
		s.ws.Close(websocket.StatusGoingAway, "the cloud is stopping")
	}
}

// watch ends a connection that is silent for too long, and stops reading when the
// Receiver is closed.
func (s *stream) watch(done <-chan struct{}) {
	timer := time.NewTimer(silence)
	defer timer.Stop()
	for {
		select {
		case <-done:
			return
		case <-s.r.streams.stop:
			s.below.SetReadDeadline(time.Now()) // an error means that it has ended anyway
			return
		case <-timer.C:
		}
		left := silence - (time.Since(s.begun) - time.Duration(s.heard.Load()))
		if left <= 0 {
			ctx, cancel := context.WithTimeout(context.Background(), pongTimeout)
			err := s.ws.Ping(ctx)
			cancel()
			if err != nil {
				s.ws.CloseNow()
				return
			}
			left = silence
		}
		timer.Reset(left)
	}
}
