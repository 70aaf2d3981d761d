package wsout

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/internal/httpjudge"
	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
)

// answer is what the other side says of messages.
type answer struct {
	span  span
	exact bool  // it speaks of one message, not of all within its span
	err   error // for those who wait; nil for an acknowledgement
	limit int   // the largest body in bytes, if it says so
}

// span names readings, as they stand in answers.
type span struct {
	Epoch string `json:"epoch"`
	Lane  string `json:"lane"`
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// refused is an answer that does not take a message.
type refused struct {
	span
	// Class is permanent, too_large or retry.
	Class      string  `json:"class"`
	RetryAfter float64 `json:"retry_after"` // seconds
	Limit      int     `json:"limit"`       // with too_large: bytes of a body
	Reason     string  `json:"reason"`
	Hint       string  `json:"hint"`
}

// parseAnswer reads a message of the other side. An error means that it does not
// speak our language, and is transient: it says nothing of the readings.
func parseAnswer(kind websocket.MessageType, message []byte) (answer, error) {
	var said struct {
		Acked   *span    `json:"acked"`
		Refused *refused `json:"refused"`
	}
	var err error
	if kind == websocket.MessageText {
		err = json.Unmarshal(message, &said)
	}
	switch {
	case kind != websocket.MessageText || err != nil || (said.Acked == nil) == (said.Refused == nil):
		return answer{}, fmt.Errorf("%s is no answer to a message — hint: does the other side speak %s?", httpjudge.Quote(string(message)), Protocol)
	case said.Acked != nil:
		return answer{span: *said.Acked}, nil
	}
	r := said.Refused
	a := answer{span: r.span, exact: true, err: r.judge()}
	if r.Class == classTooLarge && r.Limit > 0 {
		a.limit = r.Limit
	}
	return a, nil
}

// concerns reports whether the answer speaks of the message that w waits for. An
// acknowledgement may speak of several at once.
func (a answer) concerns(w *waiter) bool {
	k := w.key
	if a.span.Epoch != fmt.Sprintf("%016x", k.Epoch) || a.span.Lane != k.Lane.String() {
		return false
	}
	if a.exact {
		return a.span.First == k.First && a.span.Last == k.Last
	}
	return a.span.First <= k.First && a.span.Last >= k.Last
}

// The classes of refusals.
const (
	classPermanent = "permanent"
	classTooLarge  = "too_large"
	classRetry     = "retry"
)

// maxDelay bounds the seconds of retry_after before they become a duration; the
// Forwarder has a bound of its own.
const maxDelay = 24 * 60 * 60

// judge turns a refusal into an error of its class.
func (r *refused) judge() error {
	reason, hint := r.Reason, text(r.Hint)
	if reason == "" {
		reason = "no reason given"
	}
	said := func(otherwise string) error {
		if hint == "" {
			hint = otherwise
		}
		return fmt.Errorf("refused: %s — hint: %s", httpjudge.Quote(reason), hint)
	}
	switch r.Class {
	case classPermanent:
		return uplink.Permanent(said("the other side does not accept this content; check encoding"))
	case classTooLarge:
		return uplink.TooLarge(said("the other side takes smaller messages only; lower max_batch"))
	case classRetry:
		err := said("the other side is busy or out of order; the message will be sent again")
		if r.RetryAfter > 0 {
			return uplink.RetryAfter(err, time.Duration(min(r.RetryAfter, maxDelay)*float64(time.Second)))
		}
		return err
	}
	return said(fmt.Sprintf("the class %s is not known; the message will be sent again", httpjudge.Quote(r.Class)))
}

// privateCodes is where the close codes that applications may use begin (RFC
// 6455, 7.4.2). Many mean 4000 and the status of HTTP, and so do we.
const privateCodes = 4000

// closed says what the end of a connection means: the table of close codes.
func closed(err error) error {
	var c websocket.CloseError
	if !errors.As(err, &c) {
		return netfault.Explain(fmt.Errorf("the connection broke: %w", cause(err)))
	}
	said := func(hint string) error {
		return fmt.Errorf("the other side closed the connection: %d %s — hint: %s", c.Code, httpjudge.Quote(c.Reason), hint)
	}
	const (
		later   = "the other side is busy or out of order; the message will be sent again"
		content = "the other side does not accept this content; check encoding"
	)
	switch c.Code {
	case websocket.StatusUnsupportedData, websocket.StatusInvalidFramePayloadData:
		return uplink.Permanent(said(content))
	case websocket.StatusMessageTooBig:
		return uplink.TooLarge(said("the other side takes smaller messages only; lower max_batch"))
	case websocket.StatusPolicyViolation:
		return uplink.Misconfigured(said("check the token, and what the other side allows this gateway"))
	case websocket.StatusProtocolError, websocket.StatusMandatoryExtension:
		return uplink.Misconfigured(said("does the other side speak " + Protocol + "?"))
	}
	if status := int(c.Code) - privateCodes; status >= 400 && status <= 599 {
		v := httpjudge.Judge(status, nil, time.Time{})
		return classed(v, said(v.Hint))
	}
	return said(later) // 1000, 1001, 1011 to 1014 and what nobody knows
}

// cause returns what the library has wrapped.
func cause(err error) error {
	for {
		var op *net.OpError
		if errors.As(err, &op) {
			return op
		}
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

func classed(v httpjudge.Verdict, err error) error {
	switch v.Class {
	case httpjudge.Permanent:
		return uplink.Permanent(err)
	case httpjudge.TooLarge:
		return uplink.TooLarge(err)
	case httpjudge.Configuration:
		return uplink.Misconfigured(err)
	}
	if v.Delay > 0 {
		return uplink.RetryAfter(err, v.Delay)
	}
	return err
}

// foreign is the error of a WebSocket for something else.
func foreign(chosen string) error {
	err := fmt.Errorf("the other side chose the subprotocol %s, not %q — hint: check the path of the url; the other side must speak %s", httpjudge.Quote(chosen), Protocol, Protocol)
	return uplink.Misconfigured(err)
}

// refusedHandshake says what it means that there is no WebSocket. It is never
// held against a message: none was sent.
func refusedHandshake(resp *http.Response, err error) error {
	if resp == nil {
		return netfault.Explain(err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return fmt.Errorf("%w — hint: is there a proxy in between that does not know WebSockets?", cause(err))
	}
	var said [256]byte
	n, _ := resp.Body.Read(said[:]) // the library has kept its beginning
	v := httpjudge.Judge(resp.StatusCode, resp.Header, time.Now())
	switch v.Class {
	case httpjudge.Accepted:
		v.Hint = "this is no WebSocket; check the path of the url, or is a login page or a proxy in between?"
	case httpjudge.Permanent, httpjudge.TooLarge:
		v = httpjudge.Verdict{Class: httpjudge.Configuration, Delay: httpjudge.ConfigDelay, Hint: "the other side does not take the handshake; check the url"}
	}
	if resp.StatusCode == http.StatusUpgradeRequired {
		v.Delay = httpjudge.ConfigDelay
	}
	return classed(v, errors.New(httpjudge.Describe(resp.StatusCode, said[:n])+" — hint: "+v.Hint))
}

// limitOf reads LimitHeader; 0 if there is none that makes sense.
func limitOf(h http.Header) int {
	n, err := strconv.ParseUint(h.Get(LimitHeader), 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// text makes a foreign text safe for logs and terminals.
func text(s string) string {
	s = httpjudge.Quote(s)
	return strings.TrimSpace(s[1 : len(s)-1])
}
