package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/netcheck"
)

// byPage is what the page is called in audits of commands. No table can have the
// name.
const byPage = "the page"

// counter is where the operator gives commands: a courier that is a person. Late
// answers are for whoever waits for them.
type counter struct {
	clerk *command.Clerk

	mu    sync.Mutex
	waits map[string]chan command.Answer // by the id of the command; each has room for one
}

func newCounter(desk *command.Desk) *counter {
	return &counter{clerk: desk.Clerk(byPage, command.Narrow{Trusted: true}), waits: make(map[string]chan command.Answer)}
}

// The waiting for a device, in seconds.
const (
	usualWait = 10
	maxWait   = 60
)

// give decides a command and tells its answer, and the late one if that comes soon.
func (d *Daemon) give(ctx context.Context, o api.Order, tell func(api.OrderLine)) error {
	commands := d.current().commands
	if commands == nil {
		return api.Unavailable(errors.New("no commands are allowed here — hint: set allow in [command]"))
	}
	wait := usualWait
	if o.Wait != nil {
		wait = *o.Wait
	}
	if wait < 0 || wait > maxWait {
		return api.Invalid(fmt.Errorf("wait is %d — hint: 0 to %d seconds", wait, maxWait))
	}
	id := "page-" + rand.Text()
	body, err := document(id, o)
	if err != nil {
		return err
	}
	return commands.counter.serve(ctx, id, body, time.Duration(wait)*time.Second, wordAnswers(tell))
}

// The steps of a command by hand.
const (
	onItsWay = "accepted"
	arrived  = "delivered"
)

// wordAnswers puts the answers about a command into words.
func wordAnswers(tell func(api.OrderLine)) func(command.Answer) {
	var now *command.Answer
	questions := []netcheck.Question{{Step: onItsWay, Title: "Is it on its way?"}, {Step: arrived, Title: "Has the device got it?"}}
	report := netcheck.NewReport(questions, func(l netcheck.Line) { tell(api.OrderLine{Line: l, Answer: now}) })
	return func(a command.Answer) {
		now = &a
		reason, hint, _ := strings.Cut(a.Reason, " — hint: ")
		receivers := uint64(0)
		if a.Receivers != nil {
			receivers = uint64(*a.Receivers)
		}
		switch {
		case a.State == command.Refused, a.State == command.Expired && receivers == 0 && report.Found(onItsWay).State == "":
			report.End(onItsWay, netcheck.Wrong(hint, "%s: %s", a.State, reason))
		case a.State == command.Delivered:
			report.End(arrived, netcheck.Fine("acknowledged by %s", a.By))
			report.Conclude(netcheck.Fine("delivered to %s", a.By))
			return
		case a.State == command.Expired:
			report.End(arrived, netcheck.Wrong(hint, "%s", reason))
		case report.Found(onItsWay).State == "":
			report.End(onItsWay, netcheck.Fine("published at %s, for %s", a.Topic, count(receivers, "subscriber")))
			if receivers > 0 {
				report.Begin(arrived)
				return
			}
			report.End(arrived, netcheck.Weak("is the device connected, and subscribed to that topic?", "%s", reason))
			report.Conclude(report.Found(arrived))
			return
		default:
			report.End(arrived, netcheck.Weak("", "%s", reason))
			report.Conclude(report.Found(arrived))
			return
		}
		report.Conclude(netcheck.Finding{})
	}
}

// document writes a command as couriers bring it.
func document(id string, o api.Order) ([]byte, error) {
	qos := byte(1)
	if o.QoS != nil {
		qos = *o.QoS
	}
	return json.Marshal(struct {
		ID      string `json:"id"`
		Device  string `json:"device,omitempty"`
		Topic   string `json:"topic,omitempty"`
		Payload string `json:"payload"`
		QoS     byte   `json:"qos"`
		Retain  bool   `json:"retain,omitempty"`
		TTL     string `json:"ttl,omitempty"`
		Sender  string `json:"sender"`
	}{id, o.Device, o.Topic, o.Payload, qos, o.Retain, o.TTL, o.By})
}

func (c *counter) serve(ctx context.Context, id string, body []byte, wait time.Duration, tell func(command.Answer)) error {
	c.handOut() // what came too late for those who were here before
	mine := make(chan command.Answer, 1)
	c.mu.Lock()
	c.waits[id] = mine
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waits, id)
		c.mu.Unlock()
	}()
	a, err := c.clerk.Decide(ctx, command.Letter{Body: body})
	if err != nil {
		return err
	}
	tell(a)
	if a.State != command.Accepted || a.Receivers == nil || *a.Receivers == 0 {
		return nil
	}
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		select {
		case <-c.clerk.More():
			c.handOut()
		case late := <-mine:
			tell(late)
			return nil
		case <-over.C:
			a.Reason = cmp.Or(a.Reason, "no device has acknowledged it yet: it is kept for one that sleeps until its time is over, and delivered when that wakes up")
			tell(a)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// handOut gives late answers to those who wait for them. Nobody waits for the others
// any more, and the audit has them all.
func (c *counter) handOut() {
	answers, last := c.clerk.Outbox()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range answers {
		if w := c.waits[a.ID]; w != nil {
			select {
			case w <- a:
			default: // it has one already, which was the first
			}
		}
	}
	c.clerk.Told(last)
}
