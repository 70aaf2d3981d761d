package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/netcheck"
)

// maxSend bounds a message that is sent by hand, in bytes of its JSON.
const maxSend = 512 << 10

// Message is a message that somebody sends by hand.
type Message struct {
	// Topic is published to on the gateway's broker; or Device names who would have
	// sent it, without a topic, and Metric what a plain value measures.
	Topic  string `json:"topic,omitempty"`
	Device string `json:"device,omitempty"`
	Metric string `json:"metric,omitempty"`
	// Payload is a text, PayloadBase64 any bytes; one of them.
	Payload       string `json:"payload,omitempty"`
	PayloadBase64 []byte `json:"payload_base64,omitempty"`
	// QoS and Retain are those of a message with a topic.
	QoS    byte `json:"qos,omitempty"`
	Retain bool `json:"retain,omitempty"`
	// By is who sends it, for the audit.
	By string `json:"-"`
}

// Sent is what became of a message.
type Sent struct {
	// Where says which route took it, Means what that makes of payloads.
	Where string `json:"where"`
	Means string `json:"means"`
	// Fate is decoded, kept whole or dropped; Why says why it was not decoded.
	Fate string `json:"fate"`
	Why  string `json:"why,omitempty"`
	// Readings are those that were kept, as export writes them.
	Readings []json.RawMessage `json:"readings"`
	// Receivers is to how many sessions of the broker it went, with those of devices
	// that sleep.
	Receivers int `json:"receivers"`
	// Millis is after how long it was on flash, in milliseconds.
	Millis int64 `json:"ms"`
}

// SentLine is a line of an answer that says what becomes of a message. The last one,
// which has the verdict, has all of it.
type SentLine struct {
	netcheck.Line
	Sent *Sent `json:"sent,omitempty"`
}

// Send publishes messages by hand and says what becomes of them.
func Send(send func(ctx context.Context, m Message, tell func(SentLine)) error) []dashboard.Route {
	return []dashboard.Route{operate("POST /api/v1/send", func(w http.ResponseWriter, r *http.Request) {
		var m Message
		if err := Read(w, r, maxSend, &m); err != nil {
			Answer(w, nil, err)
			return
		}
		m.By = by(r)
		stream(w, func(tell func(SentLine)) error { return send(r.Context(), m, tell) })
	})}
}

// Order is a command that somebody gives by hand.
type Order struct {
	// Device or Topic says where it goes, as [command] allows.
	Device string `json:"device,omitempty"`
	Topic  string `json:"topic,omitempty"`
	// Payload is a text.
	Payload string `json:"payload"`
	// QoS and Retain are those of the message; QoS is 1 if it is not said.
	QoS    *byte `json:"qos,omitempty"`
	Retain bool  `json:"retain,omitempty"`
	// TTL is how long it is good, "90s"; the configuration's if it is not said.
	TTL string `json:"ttl,omitempty"`
	// Wait is for how many seconds the device's acknowledgement is waited for, 10 if it
	// is not said, 60 at the most.
	Wait *int `json:"wait,omitempty"`
	// By is who gives it, for the audit.
	By string `json:"-"`
}

// by is who asks, in the words of audits.
func by(r *http.Request) string {
	switch c := dashboard.CallerOf(r); {
	case c.Token != "":
		return "token " + c.Token
	case c.Session != "":
		return "operator"
	}
	return "somebody on the gateway itself"
}

// OrderLine is a line of an answer that says what becomes of a command. Each that
// ends a step has the answer of the desk, as couriers carry it.
type OrderLine struct {
	netcheck.Line
	Answer *command.Answer `json:"answer,omitempty"`
}

// Command gives commands by hand, and says what becomes of them.
func Command(give func(ctx context.Context, o Order, tell func(OrderLine)) error) []dashboard.Route {
	return []dashboard.Route{operate("POST /api/v1/command", func(w http.ResponseWriter, r *http.Request) {
		var o Order
		if err := Read(w, r, 2*command.MaxBody, &o); err != nil {
			Answer(w, nil, err)
			return
		}
		o.By = by(r)
		stream(w, func(tell func(OrderLine)) error { return give(r.Context(), o, tell) })
	})}
}
