package natsout

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/uplink/natsline"
)

// begin starts what a link does by itself.
func (l *link) begin() {
	l.tasks.Go(l.listen)
	l.tasks.Go(l.keep)
}

// listen hears the server until the link is gone.
func (l *link) listen() {
	server := l.Info
	for {
		v, err := l.Ear.Next()
		switch {
		case errors.Is(err, natsline.ErrNotNATS):
			l.fail(fmt.Errorf("connection lost: %w — hint: is there something in between that changes what passes?", err))
			return
		case err != nil:
			l.fail(l.lost(err))
			return
		}
		switch v.Op {
		case natsline.OpMessage:
			l.hear(v)
		case natsline.OpPing:
			select {
			case l.pinged <- struct{}{}:
			default: // it will have its PONG
			}
		case natsline.OpError:
			l.complain(natsline.NewComplaint(v.Text))
		case natsline.OpInfo:
			server.Update(v.Text)
			l.payload.Store(server.MaxPayload)
			l.leaving.Store(server.LameDuck)
		}
	}
}

// hear takes an answer.
func (l *link) hear(v natsline.Event) {
	number, ok := bytes.CutPrefix(v.Subject, []byte(l.inbox))
	if !ok || v.SID != subscription {
		return
	}
	n, err := strconv.ParseUint(string(number), 36, 64)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.due[n]
	if !ok {
		return // nobody waits for it any more
	}
	delete(l.due, n)
	if a.asked != nil {
		a.asked <- reply{status: v.Status, body: bytes.Clone(v.Body)}
		return
	}
	l.settle(a, judgeAnswer(v.Status, v.Body, a, l.cfg.Stream))
}

var forbidden = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "([^"]*)"`)

// complain takes what the server says unasked. That publishing to a subject is not
// allowed is said in this way only: there is no answer.
func (l *link) complain(err natsline.Complaint) {
	found := forbidden.FindStringSubmatch(err.Text)
	if found == nil {
		l.fail(l.lost(err))
		return
	}
	judged := judge(err, 0)
	if strings.EqualFold(found[1], "subscription") {
		l.fail(judged)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, a := range l.due {
		if a.subject != found[2] {
			continue
		}
		delete(l.due, n)
		if a.asked != nil {
			a.asked <- reply{err: errNotAllowed}
			continue
		}
		l.settle(a, judged)
	}
}

// keep answers the server's pings, and sends one when nothing was heard for a
// while. When twice as long has passed in silence the link is given up.
func (l *link) keep() {
	every := l.cfg.Keepalive
	timer := time.NewTimer(every)
	defer timer.Stop()
	var ping, pong bool // to be written, when it is our turn
	for {
		var turn chan<- struct{}
		if ping || pong {
			turn = l.turn
		}
		select {
		case <-l.gone:
			return
		case <-l.pinged:
			pong = true
		case <-timer.C:
			silence := l.Ear.Silence()
			switch {
			case silence >= 2*every:
				l.fail(l.lost(errors.New(saysStale)))
				return
			case silence >= every:
				ping = true
				timer.Reset(2*every - silence)
			default:
				timer.Reset(every - silence)
			}
		case turn <- struct{}{}:
			l.murmur(ping, pong)
			ping, pong = false, false
			<-l.turn
		}
	}
}

// murmur writes what is no message. A network that does not take a few bytes in the
// time between two pings is dead.
func (l *link) murmur(ping, pong bool) {
	text := make([]byte, 0, 16)
	if pong {
		text = append(text, "PONG\r\n"...)
	}
	if ping {
		text = append(text, "PING\r\n"...)
	}
	stuck := time.AfterFunc(l.cfg.Keepalive, func() { l.fail(l.lost(errors.New(saysStale))) })
	defer stuck.Stop()
	if _, err := l.Wire.Write(text); err != nil {
		l.broken(err)
	}
}
