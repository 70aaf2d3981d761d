package command

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrDocument is what every error of Parse wraps: the same bytes will never be a
// command.
var ErrDocument = errors.New("no command")

// wrong makes such an error.
func wrong(hint, what string, args ...any) error {
	return fmt.Errorf("%w: %s — hint: %s", ErrDocument, fmt.Sprintf(what, args...), hint)
}

const (
	maxID      = 64
	maxName    = 255 // bytes of a gateway, a device, a sender
	maxSeconds = 1e11
)

// Parse reads a document: one JSON object whose keys are those of
// docs/connect/commands.md, each at most once. It takes nothing that it does
// not know, for the part that it left out could be the one that mattered.
func Parse(body []byte) (Command, error) {
	c := Command{QoS: 1, Reply: true}
	d := draft{Command: &c}
	if err := eachKey(body, d.take); err != nil {
		return Command{}, err
	}
	switch {
	case c.ID == "":
		return Command{}, wrong("give each command an id of its own, for example a UUID", `"id" is missing`)
	case d.topic == d.device:
		return Command{}, wrong("write one of the two", `it needs "topic" or "device", and not both`)
	case d.text && d.base64:
		return Command{}, wrong("write one of the two", `"payload" and "payload_base64" exclude each other`)
	}
	return c, nil
}

// draft is a command that is being read.
type draft struct {
	*Command
	topic, device, text, base64 bool
}

// take reads one key.
func (d *draft) take(key string, raw json.RawMessage) (err error) {
	switch key {
	case "id":
		d.ID, err = identifier(raw)
	case "gateway":
		d.Gateway, err = name(key, raw)
	case "sender":
		d.Sender, err = name(key, raw)
	case "device":
		d.device = true
		d.Device, err = name(key, raw)
	case "topic":
		d.topic = true
		if d.Topic, err = text(key, raw); err == nil {
			if problem := checkTopic(d.Topic); problem != "" {
				err = wrong("name the one topic that the device is subscribed to", "%s", problem)
			}
		}
	case "payload":
		d.text = true
		d.Payload, err = payload(raw)
	case "payload_base64":
		d.base64 = true
		d.Payload, err = binary(raw)
	case "qos":
		d.QoS, err = qos(raw)
	case "retain":
		d.Retain, err = boolean(key, raw)
	case "reply":
		d.Reply, err = boolean(key, raw)
	case "issued":
		d.Issued, err = instant(key, raw)
	case "expires":
		d.Expires, err = instant(key, raw)
	case "ttl":
		d.TTL, err = span(raw)
	default:
		err = wrong("see docs/connect/commands.md for those that there are", "there is no key %s", quoted(key))
	}
	return err
}

// eachKey walks over the keys of an object, and refuses what is none, what comes
// twice, and what stands behind it.
func eachKey(body []byte, take func(key string, raw json.RawMessage) error) error {
	const hint = `write one JSON object, for example {"id":"7","topic":"dev/pump/set","payload":"on","ttl":"1m"}`
	if len(body) > MaxBody {
		return wrong("send less", "%d bytes are more than %d", len(body), MaxBody)
	}
	if !utf8.Valid(body) {
		return wrong("bytes that are no text go into payload_base64", "it is not UTF-8")
	}
	in := json.NewDecoder(bytes.NewReader(body))
	if t, err := in.Token(); err != nil || t != json.Delim('{') {
		return wrong(hint, "it is no JSON object")
	}
	seen := make(map[string]bool)
	for in.More() {
		t, err := in.Token()
		key, ok := t.(string)
		var raw json.RawMessage
		if err == nil {
			err = in.Decode(&raw)
		}
		if err != nil || !ok {
			return wrong(hint, "the JSON is broken near byte %d", in.InputOffset())
		}
		if seen[key] {
			return wrong("write each key once", "%s stands there twice", quoted(key))
		}
		seen[key] = true
		if err := take(key, raw); err != nil {
			return err
		}
	}
	if _, err := in.Token(); err != nil {
		return wrong(hint, "the JSON is broken near byte %d", in.InputOffset())
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return wrong("send one command a message", "something stands behind the object")
	}
	return nil
}

// quoted is a key for people: senders choose what they like.
func quoted(key string) string { return fmt.Sprintf("%.40q", key) }

// text reads a string. One half of a surrogate pair would become another
// character without a word.
func text(key string, raw json.RawMessage) (string, error) {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil || raw[0] != '"' {
		return "", wrong("put it in double quotes", "%q is no text", key)
	}
	if strings.ContainsRune(s, utf8.RuneError) && bytes.Contains(bytes.ToLower(raw), []byte(`\ud`)) {
		return "", wrong("escape characters beyond U+FFFF as two halves, or not at all", "%q holds half a character", key)
	}
	return s, nil
}

func identifier(raw json.RawMessage) (string, error) {
	id, err := text("id", raw)
	if err == nil && (id == "" || len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })) {
		err = wrong("use letters and digits, for example a UUID", "an id has 1 to %d printable ASCII characters", maxID)
	}
	return id, err
}

func name(key string, raw json.RawMessage) (string, error) {
	s, err := text(key, raw)
	if err == nil && (s == "" || len(s) > maxName || strings.ContainsFunc(s, unicode.IsControl)) {
		err = wrong("leave it out, or write a name", "%q has 1 to %d bytes, without control characters", key, maxName)
	}
	return s, err
}

// payload reads a text as what it says, and anything else as its JSON.
func payload(raw json.RawMessage) ([]byte, error) {
	switch {
	case string(raw) == "null":
		return nil, wrong(`leave it out for an empty message`, `"payload" is null`)
	case raw[0] != '"':
		return bytes.Clone(raw), nil
	}
	s, err := text("payload", raw)
	return []byte(s), err
}

func binary(raw json.RawMessage) ([]byte, error) {
	s, err := text("payload_base64", raw)
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, wrong("use the standard alphabet with padding, on one line", `"payload_base64" is no base64`)
	}
	return b, nil
}

func qos(raw json.RawMessage) (byte, error) {
	switch string(raw) {
	case "0", "1", "2":
		return raw[0] - '0', nil
	}
	return 0, wrong("1 is right for nearly everything", `"qos" is 0, 1 or 2`)
}

func boolean(key string, raw json.RawMessage) (bool, error) {
	switch string(raw) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, wrong("without quotes", "%q is true or false", key)
}

// seconds reads a number of seconds.
func seconds(raw json.RawMessage) (time.Duration, time.Time, bool) {
	var f float64
	if err := json.Unmarshal(raw, &f); err != nil || f < 0 || f > maxSeconds {
		return 0, time.Time{}, false
	}
	whole, part := math.Modf(f)
	nanos := time.Duration(math.Round(part * 1e9))
	at := time.Unix(int64(whole), int64(nanos)).UTC()
	if whole > float64(math.MaxInt64/int64(time.Second)) {
		return math.MaxInt64, at, true
	}
	return time.Duration(whole)*time.Second + nanos, at, true
}

// instant reads RFC 3339, or seconds since 1970.
func instant(key string, raw json.RawMessage) (time.Time, error) {
	if raw[0] != '"' {
		if _, at, ok := seconds(raw); ok && at.Unix() > 0 {
			return at, nil
		}
	} else if s, err := text(key, raw); err == nil {
		if t, err := time.Parse(time.RFC3339, s); err == nil && t.Unix() > 0 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, wrong(`write "2026-01-31T12:00:00Z", or seconds since 1970`, "%q is no time", key)
}

// span reads a duration with its unit, or seconds.
func span(raw json.RawMessage) (time.Duration, error) {
	if raw[0] != '"' {
		if d, _, ok := seconds(raw); ok && d > 0 {
			return d, nil
		}
	} else if s, err := text("ttl", raw); err == nil {
		if d, err := time.ParseDuration(s); err == nil && d > 0 {
			return d, nil
		}
	}
	return 0, wrong(`write "90s", "5m", "2h", or seconds`, `"ttl" is no time to live`)
}
