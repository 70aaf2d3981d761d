package command

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// matter is a letter on the desk.
type matter struct {
	Letter
	clerk   *Clerk
	command Command
	topic   string
	left    time.Duration // how long it is worth delivering
	digest  string
}

// decide says what becomes of a letter. An error means that nothing was decided,
// and that it must be brought again.
func (d *Desk) decide(ctx context.Context, clerk *Clerk, l Letter) (Answer, error) {
	m := &matter{Letter: l, clerk: clerk, digest: digestOf(l.Body)}
	var err error
	if m.command, err = d.keysFor(clerk).open(l.Body); err == nil {
		err = d.isForUs(m.command)
	}
	if err != nil {
		return d.settle(ctx, m, d.answer(m, Refused, err.Error()))
	}
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	e, again, err := d.lookUp(ctx, m)
	if err == nil && !again {
		if a, ok := d.examine(m); !ok {
			<-d.turn
			return d.settle(ctx, m, a)
		}
		e, err = d.publish(ctx, m)
	}
	<-d.turn
	switch {
	case errors.Is(err, errFull):
		return d.settle(ctx, m, d.answer(m, Refused, err.Error()))
	case err != nil:
		return Answer{}, err
	case again:
		return d.settle(ctx, m, d.repeated(m, e))
	}
	return d.confirm(ctx, m, e)
}

// keysFor are what the letters of a clerk must be signed with.
func (d *Desk) keysFor(c *Clerk) Keys {
	if c.narrow.Trusted {
		return nil
	}
	return d.cfg.Keys
}

func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}

func (d *Desk) isForUs(c Command) error {
	if c.Gateway != "" && c.Gateway != d.cfg.Gateway {
		return fmt.Errorf("it is for the gateway %q, and this is %q — hint: who has sent it here?", c.Gateway, d.cfg.Gateway)
	}
	return nil
}

// lookUp finds out whether the ID is known. An entry whose commit is under way is
// waited for: if that fails, nobody knows of it.
func (d *Desk) lookUp(ctx context.Context, m *matter) (e *entry, again bool, err error) {
	d.mu.Lock()
	e = d.memory.entries[m.command.ID]
	d.mu.Unlock()
	if e == nil || e.noted {
		return e, e != nil, nil
	}
	if err := e.receipt.Wait(ctx); err != nil { // it has one: whoever published it had the turn
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		d.drop(e)
		return nil, false, nil
	}
	return e, true, nil
}

// drop forgets a command that was never published.
func (d *Desk) drop(e *entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.memory.entries[e.ID] == e {
		delete(d.memory.entries, e.ID)
	}
}

// repeated answers a command whose ID is known.
func (d *Desk) repeated(m *matter, e *entry) Answer {
	if e.Sum != m.command.sum() {
		return d.answer(m, Refused, "another command had this id — hint: give each command an id of its own")
	}
	d.mu.Lock()
	of := e.State
	d.mu.Unlock()
	a := d.answer(m, Duplicate, "it was published before, and not again")
	a.Of, a.Topic = of, e.Topic
	return a
}

// sum tells one command from another under the same ID.
func (c Command) sum() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %d %t ", c.Device, c.Topic, c.QoS, c.Retain)
	h.Write(c.Payload)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// examine looks whether the command may be published, and for how long. If not, it
// returns the answer.
func (d *Desk) examine(m *matter) (a Answer, ok bool) {
	topic, err := d.topicOf(m.command)
	if err != nil {
		return d.answer(m, Refused, err.Error()), false
	}
	m.topic = topic
	switch {
	case !allows(d.cfg.Allow, topic), m.clerk.narrow.Allow != nil && !allows(m.clerk.narrow.Allow, topic):
		return d.answer(m, Refused, "no rule allows commands to this topic — hint: see allow in [command], and in the table of "+m.clerk.name), false
	case m.command.Retain && !d.cfg.AllowRetain:
		return d.answer(m, Refused, "commands may not be retained — hint: set allow_retain, if whoever subscribes next year shall get it, too"), false
	}
	var state State
	if m.left, state, err = d.life(m); err != nil {
		return d.answer(m, state, err.Error()), false
	}
	return Answer{}, true
}

// skew is how far the sender's clock may be ahead.
const skew = 5 * time.Minute

// life returns how long the command is worth delivering. A gateway whose clock
// cannot be believed counts from the arrival: it cannot know better, and the
// answer says so.
func (d *Desk) life(m *matter) (left time.Duration, state State, err error) {
	c, now := m.command, d.cfg.Clock.Now()
	ttl := c.TTL
	if ttl == 0 {
		ttl = d.cfg.TTL
	}
	left = ttl
	switch synced := d.cfg.Clock.Synced(); {
	case !synced && len(d.keysFor(m.clerk)) > 0:
		return 0, Refused, errors.New("the gateway's clock is not synchronised, and a signature is good for a time only — hint: wait until it is, or see to the time service")
	case !synced && !c.Expires.IsZero() && c.TTL == 0:
		return 0, Refused, errors.New(`the gateway's clock is not synchronised, so nobody knows whether it has expired — hint: send "ttl", which then counts from the arrival`)
	case synced:
		issued := c.Issued
		if issued.IsZero() {
			issued = earlier(m.Queued, now)
		}
		age := now.Sub(issued)
		if age < -skew {
			return 0, Refused, fmt.Errorf("it was issued %v in the future — hint: one of the two clocks is wrong", -age.Round(time.Second))
		}
		if d.cfg.MaxAge > 0 && age > d.cfg.MaxAge {
			return 0, Expired, fmt.Errorf("it is %v old, and max_age is %v", age.Round(time.Second), d.cfg.MaxAge)
		}
		left = issued.Add(ttl).Sub(now)
		if !c.Expires.IsZero() && (c.TTL == 0 || c.Expires.Before(issued.Add(ttl))) {
			left = c.Expires.Sub(now)
		}
	}
	switch {
	case left < time.Second:
		return 0, Expired, fmt.Errorf("its time was over %v ago", max(-left, 0).Round(time.Second))
	case left > d.cfg.MaxTTL:
		return 0, Refused, fmt.Errorf("it would be good for %v, and max_ttl is %v — hint: let it expire sooner", left.Round(time.Second), d.cfg.MaxTTL)
	}
	return left.Truncate(time.Second), "", nil
}

// earlier is a time of the other side's, if it has one that has been already.
func earlier(queued, now time.Time) time.Time {
	if queued.IsZero() || queued.After(now) {
		return now
	}
	return queued
}

// publish hands the message, the ID and the audit to custody in one commit.
func (d *Desk) publish(ctx context.Context, m *matter) (*entry, error) {
	c, now := m.command, d.cfg.Clock.Uptime()
	e := &entry{record: record{
		ID: c.ID, Courier: m.clerk.name, Sender: c.Sender, ReplyTo: m.ReplyTo, Reply: c.Reply,
		Topic: m.topic, QoS: c.QoS, Sum: c.sum(), State: Accepted,
		Receivers: unknown, // until it is published
	}}
	e.expires = now + m.left
	e.until = e.expires + d.cfg.Remember
	if len(e.ReplyTo) > MaxReplyTo {
		e.ReplyTo = ""
	}
	d.mu.Lock()
	forgotten, err := d.memory.makeRoom(e.ID, d.cfg.MaxRemembered, now)
	if err == nil {
		d.memory.entries[e.ID] = e // before anybody can acknowledge it
	}
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	notes := append(forgotten, d.memory.note(e, d.cfg.Clock))
	receipt, receivers, err := d.outlet.Publish(ctx, c, m.topic, m.left, d.audit(d.answer(m, Accepted, ""), e.Courier, e.Sender), notes...)
	if err != nil {
		d.drop(e)
		d.restore(forgotten)
		return nil, err
	}
	d.mu.Lock()
	e.receipt, e.Receivers = receipt, receivers
	d.mu.Unlock()
	d.rouse() // to see when it expires, also if nobody waits for it
	return e, nil
}

// restore puts back what was to be forgotten with a commit that did not happen.
func (d *Desk) restore(forgotten []reading.Note) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range forgotten {
		d.memory.forget = append(d.memory.forget, n.Key)
	}
}

// confirm waits until the command is on flash: until then it is the other side's.
func (d *Desk) confirm(ctx context.Context, m *matter, e *entry) (Answer, error) {
	if err := e.receipt.Wait(ctx); err != nil {
		if ctx.Err() == nil {
			d.drop(e)
		}
		return Answer{}, err
	}
	a := d.answer(m, Accepted, "")
	d.mu.Lock()
	receivers := e.Receivers
	d.mu.Unlock()
	a.Receivers = &receivers
	if receivers == 0 {
		a.Reason = "nobody is subscribed to it now"
		if m.command.QoS == 0 {
			a.Reason = "nobody is there to get it now"
		}
	}
	d.count(a, m.clerk.name, m.command.Sender)
	return a, nil
}

// settle makes a decision durable that publishes nothing.
func (d *Desk) settle(ctx context.Context, m *matter, a Answer) (Answer, error) {
	receipt, err := d.ledger.Accept(ctx, d.audit(a, m.clerk.name, m.command.Sender))
	if err == nil {
		err = receipt.Wait(ctx)
	}
	if err != nil {
		return Answer{}, err
	}
	d.count(a, m.clerk.name, m.command.Sender)
	return a, nil
}

// answer begins an answer.
func (d *Desk) answer(m *matter, s State, reason string) Answer {
	a := Answer{
		ID: m.command.ID, Gateway: d.cfg.Gateway, State: s, Reason: reason, Topic: m.topic, Digest: m.digest,
		ReplyTo: m.ReplyTo, Wanted: m.command.Reply || m.command.ID == "",
	}
	d.date(&a)
	return a
}

// What an audit is a reading of. Its value is JSON.
const (
	AuditDevice = "$tidegate"
	AuditMetric = "command"
)

// Audit is one decision, as it goes upstream.
type Audit struct {
	ID       string `json:"id,omitempty"`
	Decision State  `json:"decision"`
	Of       State  `json:"of,omitempty"`
	Courier  string `json:"courier"`
	Sender   string `json:"sender,omitempty"`
	Topic    string `json:"topic,omitempty"`
	By       string `json:"by,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Digest   string `json:"sha256,omitempty"`
	Clock    string `json:"clock,omitempty"`
}

// audit is the reading of a decision. The intake says when it was.
func (d *Desk) audit(a Answer, courier, sender string) []reading.Reading {
	value, err := json.Marshal(Audit{a.ID, a.State, a.Of, courier, sender, a.Topic, a.By, a.Reason, a.Digest, a.Clock})
	if err != nil {
		return nil // texts can always be written
	}
	return []reading.Reading{{Device: AuditDevice, Metric: AuditMetric, Value: reading.String(string(value))}}
}

var _ Ledger = (*ingest.Intake)(nil)
