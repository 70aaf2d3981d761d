package commandtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/command"
)

// Peer is the other side of a courier, for one test.
type Peer struct {
	// Courier brings the commands that Put puts there.
	Courier command.Courier
	// Wrong is one with a wrong password; nil where there is none.
	Wrong command.Courier
	// Put gives the other side a command for the gateway.
	Put func(t *testing.T, document string)
	// Answer returns the next answer, within Patience.
	Answer func(t *testing.T) command.Answer
	// Kill ends the server at once, and Restart starts it again, with what it has on
	// disk. Nil ones leave out what needs them.
	Kill, Restart func(t *testing.T)
	// Checked says that the other side takes only documents that are whole, so that
	// garbage never comes.
	Checked bool
}

// Run runs the suite. Each test has a peer of its own.
func Run(t *testing.T, open func(t *testing.T) Peer) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, p Peer, w *World)
	}{
		{"CommandsAreDecidedAndAnswered", decided},
		{"WhatIsNotDecidedComesAgain", undecided},
		{"ACrashPublishesNothingTwice", crash},
		{"GarbageIsRefusedAndNotInTheWay", garbage},
		{"DeliveriesAreTold", delivered},
		{"TheServerMayDie", serverDies},
		{"WhatWaitsIsBroughtLater", waiting},
		{"TheErrorSaysWhatIsWrong", wrong},
		{"ItStops", stops},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := open(t)
			t.Cleanup(func() { noneLeft(t) })
			c.test(t, p, NewWorld(t))
		})
	}
}

// noneLeft wants every goroutine of a courier to have ended. Others are the other
// side's.
func noneLeft(t *testing.T) {
	var last string
	for end := time.Now().Add(Patience); time.Now().Before(end); pause(context.Background(), 10*time.Millisecond) {
		all := make([]byte, 1<<20)
		all = all[:runtime.Stack(all, true)]
		last = ""
		for one := range strings.SplitSeq(string(all), "\n\n") {
			if strings.Contains(one, "tidegate/command/over") && !strings.Contains(one, "testing.tRunner") && !strings.Contains(one, "_test.go") {
				last = one
			}
		}
		if last == "" {
			return
		}
	}
	t.Errorf("a goroutine is left:\n%s", last)
}

// want waits for an answer about a command.
func (p Peer) want(t *testing.T, id string, s command.State) command.Answer {
	t.Helper()
	a := p.Answer(t)
	if a.ID != id || a.State != s || a.Gateway != Gateway {
		t.Fatalf("answered %+v, want %s of %s", a, s, id)
	}
	return a
}

func decided(t *testing.T, p Peer, w *World) {
	w.Start(p.Courier)
	p.Put(t, Doc("1"))
	if a := p.want(t, "1", command.Accepted); a.Topic != "dev/pump/set" || a.Receivers == nil || *a.Receivers != 1 {
		t.Errorf("answered %+v", a)
	}
	p.Put(t, strings.Replace(Doc("2"), "dev/pump/set", "dev/pump/get", 1))
	p.want(t, "2", command.Refused)
	p.Put(t, strings.Replace(Doc("3"), `"ttl":"1h"`, `"expires":"2020-01-01T00:00:00Z"`, 1))
	p.want(t, "3", command.Expired)
	for i := range 50 {
		p.Put(t, Doc(fmt.Sprint("many-", i)))
	}
	for i := range 50 {
		p.want(t, fmt.Sprint("many-", i), command.Accepted)
	}
	if all := w.Published(); len(all) != 51 || all[0] != (Published{"1", "dev/pump/set", "on 1"}) {
		t.Errorf("published %d, %+v", len(all), all[0])
	}
}

var errNoRoom = errors.New("no room")

// undecided: the commit fails, and the other side brings it again.
func undecided(t *testing.T, p Peer, w *World) {
	w.Custody.CommitNever()
	w.Start(p.Courier)
	p.Put(t, Doc("1"))
	for range 2 {
		Eventually(t, "it is brought", func() bool { w.Custody.Close(); return w.Custody.Finish(errNoRoom) })
	}
	w.Custody.CommitAtOnce()
	p.want(t, "1", command.Accepted)
}

// crash: the commit is done, and the power fails before the acknowledgement.
func crash(t *testing.T, p Peer, w *World) {
	w.Custody.CommitNever()
	stop := w.Start(p.Courier)
	p.Put(t, Doc("1"))
	Eventually(t, "it is published", func() bool { return w.times("1") == 1 })
	stop() // the connection ends before the acknowledgement
	w.Custody.Commit()
	w.Crash()
	w.Start(p.Courier)
	if a := p.want(t, "1", command.Duplicate); a.Of != command.Accepted {
		t.Errorf("answered %+v", a)
	}
	if n := w.times("1"); n != 1 {
		t.Errorf("published %d times", n)
	}
}

func garbage(t *testing.T, p Peer, w *World) {
	if p.Checked {
		t.Skip("the other side takes no garbage")
	}
	w.Start(p.Courier)
	for _, bad := range []string{"on", `{"id":"x"}`, "\x00\xff", `{"id":"x","topic":"` + strings.Repeat("x", command.MaxBody) + `"}`} {
		p.Put(t, bad)
		if a := p.want(t, "", command.Refused); a.Digest == "" || !strings.Contains(a.Reason, "hint: ") {
			t.Errorf("answered %+v", a)
		}
	}
	p.Put(t, Doc("1"))
	p.want(t, "1", command.Accepted)
}

func delivered(t *testing.T, p Peer, w *World) {
	stop := w.Start(p.Courier)
	p.Put(t, Doc("1"))
	p.want(t, "1", command.Accepted)
	w.Desk.Delivered("1", "pump-7")
	if a := p.want(t, "1", command.Delivered); a.By != "pump-7" {
		t.Errorf("answered %+v", a)
	}
	p.Put(t, Doc("2"))
	p.want(t, "2", command.Accepted)
	stop()
	w.Desk.Delivered("2", "pump-7") // while nobody is connected
	Eventually(t, "it is noted", func() bool { return w.Desk.Stats().Delivered == 2 })
	w.Start(p.Courier)
	a := p.Answer(t)
	for a.ID == "2" && a.State == command.Duplicate { // its acknowledgement was lost with the connection
		a = p.Answer(t)
	}
	if a.ID != "2" || a.State != command.Delivered {
		t.Errorf("answered %+v", a)
	}
}

func serverDies(t *testing.T, p Peer, w *World) {
	if p.Kill == nil {
		t.Skip("it is no server of its own")
	}
	w.Start(p.Courier)
	p.Put(t, Doc("1"))
	p.want(t, "1", command.Accepted)
	up := func() bool { about, _, _ := w.Clerk.Link(); return about != "" }
	p.Kill(t)
	Eventually(t, "it notices", func() bool { return !up() })
	p.Restart(t)
	Eventually(t, "it is connected again", up)
	p.Put(t, Doc("2"))
	for a := p.Answer(t); a.ID != "2"; a = p.Answer(t) { // the first may come again
		if a.ID != "1" {
			t.Errorf("answered %+v", a)
		}
	}
	if w.times("1") != 1 || w.times("2") != 1 {
		t.Errorf("published %+v", w.Published())
	}
}

// waiting: commands wait for a gateway that is not there, if it was before.
func waiting(t *testing.T, p Peer, w *World) {
	stop := w.Start(p.Courier)
	p.Put(t, Doc("1"))
	p.want(t, "1", command.Accepted)
	stop()
	for i := range 30 {
		p.Put(t, Doc(fmt.Sprint("later-", i)))
	}
	w.Start(p.Courier)
	got := map[string]bool{}
	for len(got) < 30 { // one that was handed to the connection that has ended comes late
		a := p.Answer(t)
		if a.ID == "1" {
			continue // its acknowledgement was lost with the connection
		}
		if a.State != command.Accepted || got[a.ID] {
			t.Fatalf("answered %+v", a)
		}
		got[a.ID] = true
	}
}

func wrong(t *testing.T, p Peer, w *World) {
	if p.Wrong == nil {
		t.Skip("there is no password")
	}
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	err := p.Wrong.Run(ctx, w.Clerk)
	if err == nil || !strings.Contains(err.Error(), "hint: ") || !strings.Contains(err.Error(), "password") && !strings.Contains(err.Error(), "token") {
		t.Errorf("got %v", err)
	}
}

func stops(t *testing.T, p Peer, w *World) {
	w.Custody.CommitNever()
	p.Put(t, Doc("1"))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Courier.Run(ctx, w.Clerk) }()
	// Not everybody keeps what came before the first connection: it may run idle.
	pause(t.Context(), 300*time.Millisecond)
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("got %v", err)
		}
	case <-time.After(Patience):
		t.Errorf("it did not return within %v", Patience)
	}
}
