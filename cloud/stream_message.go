package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/reading"
)

// violation is a message from which nothing can be learnt: not even of which
// readings the answer should speak.
type violation struct{ what string }

func (v *violation) Error() string { return v.what }

// message is a delivery as it came over a WebSocket.
type message struct {
	bytes   []byte // only the beginning, if it is refused
	taken   int64  // from the budget
	refused error  // why it is not kept, before anybody has looked into it
}

// next reads a message and has it worked on.
func (s *stream) next() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	kind, in, err := s.ws.Reader(ctx)
	if err != nil {
		return err
	}
	s.note()
	slow := time.AfterFunc(messageTimeout, cancel)
	defer slow.Stop()
	if kind != websocket.MessageBinary {
		return &violation{"deliveries are binary messages"}
	}
	m, err := s.read(in)
	s.note()
	var media, key string
	var body []byte
	var about acked
	if err == nil {
		media, key, body, err = cutHead(m.bytes)
	}
	if err == nil {
		about, err = parseKey(key)
	}
	if err != nil {
		s.r.memory.give(m.taken)
		return err
	}
	if int64(len(body)) > s.r.maxBody {
		m.refused = s.r.tooLarge()
	}
	if media == "" {
		media = s.media
	}
	s.media = media
	s.slots <- struct{}{}
	s.tasks.Go(func() {
		defer func() { <-s.slots }()
		answer := s.work(media, key, about, body, m)
		s.r.memory.give(m.taken)
		s.say(answer)
	})
	return nil
}

// work keeps the message, if it can, and returns the answer.
func (s *stream) work(media, key string, about acked, body []byte, m message) []byte {
	d, err := Delivery{}, m.refused
	if err == nil {
		media, err = mediaOf(media)
	}
	if err == nil {
		d, err = s.r.keep(context.Background(), media, body, s.token, key)
	}
	var text []byte
	if err != nil {
		text, _ = json.Marshal(map[string]refusedDelivery{"refused": s.r.refusalOf(err).ofDelivery(about, s.r.maxBody)})
		return text
	}
	d.Bytes = int64(len(m.bytes))
	if s.r.received != nil {
		s.r.received(d)
	}
	text, _ = json.Marshal(answerTo(d))
	return text
}

// say sends an answer. If the gateway does not listen, the connection ends, and
// it sends everything again.
func (s *stream) say(answer []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	if s.ws.Write(ctx, websocket.MessageText, answer) != nil {
		s.ws.CloseNow()
	}
}

// cutHead cuts the first line off: media type, space and key.
func cutHead(b []byte) (media, key string, body []byte, err error) {
	head, body, ended := bytes.Cut(b, []byte("\n"))
	media, key, spaced := strings.Cut(string(head[:min(len(head), maxHead)]), " ")
	if !ended || !spaced || len(head) > maxHead {
		return "", "", nil, &violation{"the first line is not a media type, a space and a key"}
	}
	return media, key, body, nil
}

// parseKey reads gateway/epoch/lane/first-last. What it says is checked against
// the body later: here it is only for the answer.
func parseKey(key string) (acked, error) {
	part := strings.Split(key, "/")
	if len(part) >= 4 {
		part = part[len(part)-3:]
		first, last, _ := strings.Cut(part[2], "-")
		a := acked{Epoch: part[0], Lane: part[1]}
		var err1, err2 error
		a.First, err1 = strconv.ParseUint(first, 10, 64)
		a.Last, err2 = strconv.ParseUint(last, 10, 64)
		_, err3 := strconv.ParseUint(a.Epoch, 16, 64)
		if _, ok := reading.ParseLane(a.Lane); ok && err1 == nil && err2 == nil && err3 == nil {
			return a, nil
		}
	}
	return acked{}, &violation{"the key is not gateway/epoch/lane/first-last"}
}

// read reads a message, and takes memory from the budget as it grows. An error
// leaves m.taken to be given back.
func (s *stream) read(in io.Reader) (m message, err error) {
	const least = 4 << 10
	if !s.r.memory.take(least + requestOverhead) {
		m.bytes = make([]byte, 0, maxHead+1)
		return s.pass(in, m, s.r.busy())
	}
	m.taken = least + requestOverhead
	m.bytes = make([]byte, 0, least)
	for {
		ended, err := m.fill(in)
		switch {
		case err != nil:
			return m, err
		case ended && s.below.ended.Load():
			return m, io.ErrUnexpectedEOF // a compressed one that was cut seems whole
		case ended:
			return m, nil
		case int64(len(m.bytes)) > s.r.maxBody+maxHead:
			return s.pass(in, m, s.r.tooLarge())
		case !s.r.memory.take(int64(cap(m.bytes))): // as much again
			return s.pass(in, m, s.r.busy())
		}
		m.taken += int64(cap(m.bytes))
		m.bytes = append(make([]byte, 0, 2*cap(m.bytes)), m.bytes...)
	}
}

// fill reads until the memory is full, or the message has ended.
func (m *message) fill(in io.Reader) (ended bool, err error) {
	for len(m.bytes) < cap(m.bytes) {
		n, err := in.Read(m.bytes[len(m.bytes):cap(m.bytes)])
		m.bytes = m.bytes[:len(m.bytes)+n]
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// pass reads over what is left of a message that is not kept: the connection, and
// what else is on it, goes on.
func (s *stream) pass(in io.Reader, m message, why error) (message, error) {
	m.refused = why
	if _, err := m.fill(in); err != nil {
		return m, err
	}
	_, err := io.Copy(io.Discard, in)
	return m, err
}

func (r *Receiver) busy() error {
	return refuse(http.StatusTooManyRequests, "nothing is lost, send it again later", "too much at once")
}

// refusedDelivery is a refusal as it travels over a WebSocket.
type refusedDelivery struct {
	acked
	Class      string `json:"class"`
	RetryAfter int    `json:"retry_after,omitempty"` // seconds
	Limit      int64  `json:"limit,omitempty"`       // bytes of a body
	Reason     string `json:"reason"`
	Hint       string `json:"hint"`
}

// ofDelivery says the refusal of what a gateway asked about. It will send again
// what is refused with the class retry, and sets aside for good what is not.
func (r *refusal) ofDelivery(about acked, maxBody int64) refusedDelivery {
	d := refusedDelivery{acked: about, Class: "retry", RetryAfter: r.retryAfter, Reason: r.reason, Hint: r.hint}
	switch r.status {
	case http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		d.Class = "permanent"
	case http.StatusRequestEntityTooLarge:
		d.Class, d.Limit = "too_large", maxBody
	case http.StatusUnauthorized, http.StatusForbidden:
		d.RetryAfter = 60 // until somebody has corrected the token or the name
	}
	return d
}
