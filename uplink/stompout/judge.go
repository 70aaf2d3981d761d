package stompout

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// Delays after answers that do not change by themselves soon.
const (
	// fullDelay is for a store or a memory that consumers must make room in.
	fullDelay = 30 * time.Second
)

// firstLine is how much of an ERROR's body is looked at, in bytes.
const firstLine = 800

type class int

const (
	transient  class = iota // the Forwarder backs off
	configured              // uplink.Misconfigured: a person must do something
	full                    // uplink.RetryAfter(fullDelay)
	tooLarge                // uplink.TooLarge
	poison                  // uplink.Permanent
)

// errorsOfServers is what servers say in an ERROR, and what it means here. STOMP
// has no codes: the words are those of ActiveMQ 5 and RabbitMQ 3, and of Artemis,
// which was not tried. The first row that fits counts. Nothing that a person must put right is held
// against the readings.
var errorsOfServers = []struct {
	words string // in lower case
	class class
	hint  string
}{
	{"maximum data length was exceeded", tooLarge, "the server takes smaller messages only (wireFormat.maxDataLength); smaller ones are made from now on"},
	{"maximum frame size", tooLarge, "the server takes smaller messages only (wireFormat.maxFrameSize); smaller ones are made from now on"},
	{"max frame size exceeded", tooLarge, "the server takes smaller messages only (wireFormat.maxFrameSize); smaller ones are made from now on"},
	{"larger than max allowed", tooLarge, "the server takes smaller messages only; smaller ones are made from now on"},
	{"is larger than configured max size", tooLarge, "the server takes smaller messages only (max_message_size); smaller ones are made from now on"},
	{"larger than max size", tooLarge, "the server takes smaller messages only (max_message_size); smaller ones are made from now on"},
	{"maximum header length", poison, "names of devices are too long for its headers, which take 10 KiB; use a shorter destination, or shorter names"},
	{"maximum command length", poison, "names of devices are too long for its headers; use a shorter destination, or shorter names"},
	{"resourceallocationexception", full, "the server has no room: its consumers are too slow, or memoryUsage and storeUsage too small"},
	{"usage manager", full, "the server has no room: its consumers are too slow, or memoryUsage and storeUsage too small"},
	{"store is full", full, "the server has no room: its consumers are too slow, or storeUsage is too small"},
	{"is full", full, "the server has no room: its consumers are too slow, or its limit is too small"},
	{"password is invalid", configured, "check username and password_file"},
	{"access refused for user", configured, "check username and password_file"},
	{"unable to validate user", configured, "check username and password_file"},
	{"authentication", configured, "check username and password_file"},
	{"virtual host", configured, "check vhost, and that the user may use it: rabbitmqctl set_permissions -p VHOST"},
	{"not authorized", configured, "the user may not write to this destination; see the server's authorization entries"},
	{"does not have permission", configured, "the user may not write to this destination; see the server's security settings"},
	{"access_refused", configured, "the user may not write to this destination; see rabbitmqctl set_permissions"},
	{"access to", configured, "the user may not write to this destination; see rabbitmqctl set_permissions"},
	{"securityexception", configured, "the server refuses this user; see its log"},
	{"not_found", configured, "create the exchange, or correct destination"},
	{"does not exist", configured, "create the destination, or correct it"},
	{"destination", configured, `correct destination: "/queue/NAME" is what all servers know`},
	{"inequivalent arg", configured, "the queue exists and is made otherwise; delete it, or use another one"},
	{"precondition_failed", configured, "what the server has does not fit what is asked for; see its log"},
	{"supported protocol versions", configured, "the server does not speak STOMP 1.2"},
	{"messageformatexception", poison, "the server does not accept this content; check encoding"},
}

// judge turns an ERROR into the error of Send. It is the only place that knows
// what servers say.
func judge(f *frame) error {
	said := says(f)
	text := strings.ToLower(said)
	for _, row := range errorsOfServers {
		if !strings.Contains(text, row.words) {
			continue
		}
		err := fmt.Errorf("the server says %s — hint: %s", onelink.Quote(said), row.hint)
		switch row.class {
		case configured:
			return uplink.Misconfigured(err)
		case full:
			return uplink.RetryAfter(err, fullDelay)
		case tooLarge:
			return uplink.TooLarge(sized{err, onelink.StatedLimit(said)})
		case poison:
			return uplink.Permanent(err)
		}
		return err
	}
	return fmt.Errorf("the server says %s — hint: see its log; the message will be sent again", onelink.Quote(said))
}

// says is the text of an ERROR: its header, and the first line of its body, in
// which RabbitMQ tells more and ActiveMQ the name of an exception. The text of the
// exception repeats the header.
func says(f *frame) string {
	message := f.get("message")
	body, _, _ := strings.Cut(strings.TrimSpace(string(f.body[:min(len(f.body), firstLine)])), "\n")
	if body == "" || body == message {
		return message
	}
	if exception, repeated, ok := strings.Cut(body, ": "); ok && repeated == message && message != "" {
		body = exception[strings.LastIndexByte(exception, '.')+1:]
	}
	if message == "" {
		return body
	}
	return message + ": " + body
}

// sized is a refusal that tells what the server may take, in bytes; 0 if it does
// not.
type sized struct {
	error
	limit int64
}

// Unwrap returns the refusal.
func (s sized) Unwrap() error { return s.error }

// outgrown is the refusal of a piece of the size. It teaches the limit: what the
// server has named, or else anything less.
func outgrown(cause error, size int) error {
	var e sized
	if errors.As(cause, &e) && e.limit == 0 {
		e.limit = int64(size) - 1
		return uplink.TooLarge(e)
	}
	return cause
}
