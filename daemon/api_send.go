package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/mqttin"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/netcheck"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink/encode"
)

// SentMetric is the metric of the audit of messages that are sent by hand, of the
// device of the gateway itself. Its value is JSON.
const SentMetric = "sent"

// sentAudit is one message, as it goes upstream.
type sentAudit struct {
	By     string `json:"by"`
	Topic  string `json:"topic,omitempty"`
	Device string `json:"device,omitempty"`
	QoS    byte   `json:"qos,omitempty"`
	Retain bool   `json:"retain,omitempty"`
	Bytes  int    `json:"bytes"`
	Digest string `json:"sha256"`
}

// The steps of a message by hand.
const (
	understood = "understood"
	readings   = "readings"
	heardBy    = "subscribers"
)

func sendQuestions() []netcheck.Question {
	return []netcheck.Question{
		{Step: understood, Title: "Is it understood?"}, {Step: readings, Title: "What comes of it?"},
		{Step: netcheck.Flash, Title: "Is it on flash?"}, {Step: heardBy, Title: "Does anybody listen?"},
	}
}

// send publishes a message as a local client would, and waits until it is on flash.
func (d *Daemon) send(ctx context.Context, m api.Message, tell func(api.SentLine)) error {
	payload := m.PayloadBase64
	if payload == nil {
		payload = []byte(m.Payload)
	}
	c, err := d.aimAt(m)
	if err != nil {
		return api.Invalid(err)
	}
	sum := sha256.Sum256(payload)
	audit, err := json.Marshal(sentAudit{m.By, m.Topic, m.Device, m.QoS, m.Retain, len(payload), hex.EncodeToString(sum[:8])})
	if err != nil {
		return err
	}
	note := reading.Reading{Device: command.AuditDevice, Metric: SentMetric, Value: reading.String(string(audit))}
	began := time.Now()
	var o mqttin.Outcome
	if m.Topic != "" {
		o, err = d.publish(ctx, m, payload, note)
	} else {
		o, err = d.takeIn(ctx, c.target, payload, note)
	}
	if err == nil && o.Receipt != nil {
		err = o.Receipt.Wait(ctx)
	}
	if err != nil {
		return err
	}
	d.log.Info("a message was sent by hand", "by", m.By, "topic", m.Topic, "device", m.Device, "bytes", len(payload), "n", len(o.Readings))
	s := sent(c, o, time.Since(began))
	report := netcheck.NewReport(sendQuestions(), func(l netcheck.Line) {
		line := api.SentLine{Line: l}
		if l.Verdict != "" {
			line.Sent = &s
		}
		tell(line)
	})
	wordSent(report, s, o)
	return nil
}

// wordSent puts into words what became of a message.
func wordSent(report *netcheck.Report, s api.Sent, o mqttin.Outcome) {
	what := fmt.Sprintf("%s: %s", s.Where, s.Means)
	verdict := netcheck.Fine("%s, on flash after %d ms", count(uint64(len(o.Readings)), "reading"), s.Millis)
	if s.Why != "" {
		why, hint, _ := strings.Cut(s.Why, " — hint: ")
		if s.Fate != fateWord(route.Decoded) {
			what += "; " + why
			why, hint = "it is not understood, and "+s.Fate, "correct the payload, or the decode of its route"
		}
		verdict = netcheck.Weak(hint, "%s", why)
	}
	report.End(understood, netcheck.Finding{State: verdict.State, Text: what})
	if len(o.Readings) > 0 {
		report.End(readings, netcheck.Fine("kept: %s", wordReadings(o.Readings)))
	}
	report.End(netcheck.Flash, netcheck.Fine("after %d ms", s.Millis))
	report.End(heardBy, netcheck.Fine("%s of this broker", count(uint64(s.Receivers), "subscriber")))
	report.Conclude(verdict)
}

// maxWorded is how many readings are told of one by one.
const maxWorded = 20

func wordReadings(rs []reading.Reading) string {
	var all []string
	for i := range rs[:min(len(rs), maxWorded)] {
		r := &rs[i]
		all = append(all, printable(strings.TrimSpace(fmt.Sprintf("%s %s %s %s", r.Device, r.Metric, wordValue(r), r.Unit)), 200))
	}
	if len(rs) > maxWorded {
		all = append(all, fmt.Sprintf("and %d more", len(rs)-maxWorded))
	}
	return strings.Join(all, "; ")
}

// aimAt finds what the message means, as "tidegate test" does.
func (d *Daemon) aimAt(m api.Message) (*testCall, error) {
	if m.Payload != "" && m.PayloadBase64 != nil {
		return nil, errors.New(`"payload" and "payload_base64" exclude each other — hint: write one of the two`)
	}
	if m.Device != "" && (m.QoS != 0 || m.Retain) {
		return nil, errors.New("qos and retain are of messages with a topic — hint: leave them out, or name the topic")
	}
	if m.Topic == "" && m.Device == "" {
		return nil, errors.New(`it needs "topic" or "device" — hint: for example "topic": "plant/press-1"`)
	}
	if m.Topic != "" && d.current().broker() == nil {
		return nil, errNoBroker
	}
	c := &testCall{door: "mqtt", topic: m.Topic, device: m.Device, metric: m.Metric}
	return c, c.aim(d.current().cfg)
}

var errNoBroker = errors.New("there is no broker to publish to — hint: set ingest.mqtt.listen, or name a device instead of the topic")

func (d *Daemon) publish(ctx context.Context, m api.Message, payload []byte, note reading.Reading) (mqttin.Outcome, error) {
	broker := d.current().broker()
	if broker == nil { // since it was looked for
		return mqttin.Outcome{}, api.Invalid(errNoBroker)
	}
	o, err := broker.Submit(ctx, mqttin.Submission{Topic: m.Topic, Payload: payload, QoS: m.QoS, Retain: m.Retain}, note)
	if errors.Is(err, mqttin.ErrNotRunning) {
		err = api.Unavailable(fmt.Errorf("%w — hint: \"tidegate status\" says why", err))
	}
	return o, err
}

// takeIn hands readings over that no door has brought.
func (d *Daemon) takeIn(ctx context.Context, t route.Target, payload []byte, note reading.Reading) (o mqttin.Outcome, err error) {
	intake := ingest.NewIntake(custody{buffer: d.buffer}, d.hub, time.Now).WithMemory(d.memory)
	o.Readings, o.Fate, o.Why = t.Read(nil, payload, route.Arrival{Intake: intake, Now: intake.Now()})
	mine := len(o.Readings)
	all := append(o.Readings, note)
	if o.Receipt, err = intake.Accept(ctx, all); err != nil {
		return o, err
	}
	o.Readings = all[:mine]
	return o, nil
}

// sent says what became of a message.
func sent(c *testCall, o mqttin.Outcome, took time.Duration) api.Sent {
	s := api.Sent{
		Where: c.where, Means: c.means, Fate: fateWord(o.Fate), Readings: []json.RawMessage{},
		Receivers: o.Receivers, Millis: took.Milliseconds(),
	}
	switch {
	case o.Why != nil:
		s.Why = o.Why.Error()
	case len(o.Readings) == 0:
		s.Why = "no reading came of it: it announces something, or its [[refine]] left it out — hint: \"tidegate test\" shows which"
	}
	for i := range o.Readings {
		r := &o.Readings[i]
		line := fmt.Appendf(nil, `{"lane":%q,`, r.Lane)
		s.Readings = append(s.Readings, append(line, encode.AppendReading(nil, uint64(i+1), r)[1:]...))
	}
	return s
}
