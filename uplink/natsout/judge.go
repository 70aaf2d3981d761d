package natsout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/natsline"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// Delays after answers that do not change by themselves soon.
const (
	// fullDelay is for a stream or a server that must be given room.
	fullDelay = 30 * time.Second
)

type class int

const (
	transient  class = iota // the Forwarder backs off
	configured              // uplink.Misconfigured: a person must do something
	full                    // uplink.RetryAfter(fullDelay)
	tooLarge                // uplink.TooLarge
	poison                  // uplink.Permanent
)

// What this package says in place of the server.
const (
	saysMaxPayload = "maximum payload exceeded"
	saysStale      = "stale connection"
)

// refusals is what a stream says instead of a number, by its err_code.
//
// Source: server/errors.json of nats-server.
var refusals = map[int]struct {
	class class
	hint  string
}{
	10002: {full, "the account has used up what it may store; raise its limits"},
	10008: {transient, "JetStream is starting, or has no leader; the message will be sent again"},
	10009: {transient, "the stream has no leader; the message will be sent again"},
	10023: {full, "the server has no room for JetStream; raise max_file_store, or its limits"},
	10028: {full, "the server has no memory for JetStream; raise max_memory_store"},
	10039: {configured, "this account has no JetStream; give it some: jetstream: enabled"},
	10047: {full, "the server's disk is full; raise max_file_store, or make room"},
	10054: {tooLarge, "the stream takes smaller messages only (max_msg_size); smaller ones are made from now on"},
	10059: {configured, "the stream is not there; create it, or correct stream"},
	10060: {configured, "the subject belongs to another stream; correct stream or subject"},
	10070: {configured, "something on the way expects an order that tidegate does not send; publish past it"},
	10071: {configured, "something on the way expects an order that tidegate does not send; publish past it"},
	10076: {configured, "the server has no JetStream; start it with -js"},
	10077: {full, "the stream is full and discards what is new: its consumers are too slow, or max_msgs and max_bytes too small"},
	10097: {poison, "names of devices are too long for the headers of a message, which take 64 kB; use shorter names"},
	10109: {configured, "the stream is sealed; use another one"},
	10164: {configured, "something on the way expects an order that tidegate does not send; publish past it"},
}

// faults is what the server says in -ERR, and this package in its place, in lower
// case; and what it means here. The protocol has words only. The first row that
// fits counts.
var faults = []struct {
	says  string
	class class
	hint  string
}{
	{saysMaxPayload, tooLarge, "the server takes smaller messages only (max_payload); smaller ones are made from now on"},
	{"authorization violation", configured, "check username and password_file, token_file, nkey_file or creds_file; the server also closes a login that takes too long"},
	{"account authentication expired", configured, "the account's JWT has expired; its operator must renew it"},
	{"authentication expired", configured, "the user's JWT has expired; write a new creds_file"},
	{"authentication revoked", configured, "the user was revoked; write a new creds_file"},
	{natsline.SaysNoNkeys, configured, "the server knows no nkeys; log in otherwise"},
	{natsline.SaysNoTLS, configured, "the server has no TLS; use nats:// instead of tls://, or another port"},
	{"secure connection required", configured, "the server wants TLS; use tls://"},
	{"maximum connections exceeded", configured, "the server allows no more connections (max_connections)"},
	{"maximum account active connections exceeded", configured, "the account allows no more connections"},
	{natsline.SaysNoHeaders, configured, "the server knows no headers; JetStream needs 2.2 or later"},
	{saysStale, transient, "two pings were not answered; the link is dead or very slow"},
	{"slow consumer", transient, "answers came faster than they could be read; what has none is sent again"},
	{natsline.SaysNoInfo, transient, "the other side does not speak NATS; check the port"},
}

// judge turns an error of the connection into the error of Send. size is that of the
// piece it is about, in bytes; 0 for none.
func judge(err error, size int) error {
	if _, delayed := uplink.RetryDelay(err); delayed || uplink.IsPermanent(err) {
		return err // judged already
	}
	text := strings.ToLower(err.Error())
	for _, row := range faults {
		if strings.Contains(text, row.says) {
			return classed(err, row.class, row.hint, size)
		}
	}
	switch {
	case strings.Contains(text, "permissions violation for subscription"):
		return classed(err, configured, "the user may not subscribe to the answers; allow it, or set inbox_prefix", 0)
	case strings.Contains(text, "permissions violation"):
		return classed(err, configured, "the user may not publish to this subject; allow it, or correct subject", 0)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return unreadable(err)
	case size > 0 && strings.Contains(text, "maximum payload"):
		return classed(err, tooLarge, "the server takes smaller messages only (max_payload); smaller ones are made from now on", size)
	}
	if explained := netfault.Explain(err); strings.Contains(explained.Error(), "hint: ") {
		return explained
	}
	return fmt.Errorf("%w — hint: see the server's log; what was not confirmed is sent again", err)
}

func classed(err error, c class, hint string, size int) error {
	err = fmt.Errorf("%w — hint: %s", err, hint)
	switch c {
	case configured:
		return uplink.Misconfigured(err)
	case full:
		return uplink.RetryAfter(err, fullDelay)
	case tooLarge:
		if size > 0 {
			err = sized{err, size}
		}
		return uplink.TooLarge(err)
	case poison:
		return uplink.Permanent(err)
	}
	return err
}

// unreadable is the error of a file with credentials.
func unreadable(err error) error {
	return classed(err, configured, "the file must hold the seed of a user, or a JWT and its seed, and be readable for the user who runs the gateway", 0)
}

// confirmation is what a stream answers.
type confirmation struct {
	Stream    string `json:"stream"`
	Seq       uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate"` // the stream had it already: custody as well
	Error     *struct {
		Code        int    `json:"code"`
		ErrCode     int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
}

// judgeAnswer turns the answer to a publish into the error of its piece: nil only
// if a stream has it, and the one that it is for if that is not "".
func judgeAnswer(status string, data []byte, a answer, stream string) error {
	if status == "503" {
		hint := fmt.Sprintf(`create one: nats stream add NAME --subjects %q --storage file --retention limits --discard new --dupe-window 1h`, a.subject)
		return classed(fmt.Errorf("no stream takes the subject %s", onelink.Quote(a.subject)), configured, hint, 0)
	}
	var c confirmation
	err := json.Unmarshal(data, &c)
	switch {
	case err == nil && c.Error != nil:
		return refusal(c.Error.ErrCode, c.Error.Description, a.size)
	case status != "", err != nil, c.Stream == "", c.Seq == 0:
		return fmt.Errorf("the answer is %s %s, not a stream's — hint: something else answers on the subject %s", onelink.Quote(status), onelink.Quote(string(data)), onelink.Quote(a.subject))
	case stream != "" && c.Stream != stream:
		return classed(fmt.Errorf("the stream %s has taken it, not %s", onelink.Quote(c.Stream), stream), configured, "correct stream, or the subjects of the other one", 0)
	}
	return nil
}

// refusal judges a stream's error.
func refusal(code int, description string, size int) error {
	err := fmt.Errorf("the stream says %s (%d)", onelink.Quote(description), code)
	if row, known := refusals[code]; known {
		return classed(err, row.class, row.hint, size)
	}
	return classed(err, transient, "see the server's log; the message will be sent again", 0)
}

// sized is a refusal of a piece that was too large, and the size of its body in bytes.
type sized struct {
	error
	size int
}

// Unwrap returns the refusal.
func (s sized) Unwrap() error { return s.error }
