package amqpout

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/uplink"
)

// TestEveryReplyHasItsClass is the table of what servers say. The texts are those
// of RabbitMQ 3.10.
func TestEveryReplyHasItsClass(t *testing.T) {
	for _, c := range []struct {
		code  int
		text  string
		class string // or the delay
		hint  string
	}{
		{noRoute, "NO_ROUTE", "1m0s", "no queue is bound"},
		{nacked, "", "transient", "full"},
		{outOfRoom, "low on disk", "10s", "memory and disk"},
		{406, "PRECONDITION_FAILED - message size 2000 is larger than configured max size 1000", "too large", "smaller"},
		{311, "CONTENT_TOO_LARGE", "too large", "smaller"},
		{403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.", "1m0s", "password_file"},
		{403, "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused for user 'weak'", "1m0s", "set_permissions"},
		{403, "ACCESS_REFUSED - exchange name 'amq.x' contains reserved prefix 'amq.*'", "1m0s", "log"},
		{404, "NOT_FOUND - no exchange 'nope' in vhost '/'", "1m0s", `declare = "exchange"`},
		{404, "NOT_FOUND - no queue 'nope' in vhost '/'", "1m0s", `declare = "queue"`},
		{404, "NOT_FOUND - no such thing", "1m0s", "not there"},
		{405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue", "1m0s", "another"},
		{406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 't1'", "1m0s", `declare = "none"`},
		{406, "PRECONDITION_FAILED - invalid expiration", "1m0s", "log"},
		{402, "INVALID_PATH", "1m0s", "vhost"},
		{530, "NOT_ALLOWED - vhost nope not found", "1m0s", "vhost"},
		{530, "NOT_ALLOWED - access to vhost 'x' refused for user 'weak': connection limit (1) is reached", "1m0s", "vhost"},
		{530, "NOT_ALLOWED - node connection limit (0) is reached", "1m0s", "limits"},
		{530, "NOT_ALLOWED - whatever", "1m0s", "policy"},
		{320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'", "transient", "stopped"},
		{506, "RESOURCE_ERROR", "transient", "short"},
		{541, "INTERNAL_ERROR", "transient", "log"},
		{540, "NOT_IMPLEMENTED", "1m0s", "confirms"},
		{501, "FRAME_ERROR", "transient", "AMQP 0-9-1"},
		{502, "SYNTAX_ERROR", "transient", "AMQP 0-9-1"},
		{504, "CHANNEL_ERROR", "transient", "AMQP 0-9-1"},
		{0, "", "transient", "AMQP 0-9-1"},
	} {
		err := judge(c.code, c.text)
		if got := classOf(err); got != c.class {
			t.Errorf("%d %s: %s, want %s (%v)", c.code, c.text, got, c.class, err)
		}
		if _, hint, _ := strings.Cut(err.Error(), " — hint: "); !strings.Contains(hint, c.hint) {
			t.Errorf("%d %s: hint %q, want %q in it", c.code, c.text, hint, c.hint)
		}
	}
}

func classOf(err error) string {
	delay, asked := uplink.RetryDelay(err)
	switch {
	case err == nil:
		return "accepted"
	case uplink.IsTooLarge(err):
		return "too large"
	case uplink.IsPermanent(err):
		return "permanent"
	case asked:
		return delay.String()
	}
	return "transient"
}

func TestLimitIsWhatTheServerNames(t *testing.T) {
	for text, want := range map[string]int64{
		"PRECONDITION_FAILED - message size 2000 is larger than configured max size 1000": 1000,
		"PRECONDITION_FAILED - message size 2000 is larger than max size 512":             512,
		"PRECONDITION_FAILED - message size is larger":                                    0,
		"message size 2000 is larger than max size 99999999999999999999":                  0,
		"message size 2000 is larger than max size -1":                                    0,
		"": 0,
	} {
		err := fmt.Errorf("publish: %w", judge(406, text))
		if got := limitIn(err); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if got := limitIn(errors.New("message size 2 is larger than max size 1")); got != 0 {
		t.Errorf("a limit of %d out of any error", got)
	}
}

// FuzzJudge: no text makes judge panic, be custody, or show a terminal what it
// should not see.
func FuzzJudge(f *testing.F) {
	f.Add(406, "message size 2000 is larger than configured max size 1000")
	f.Add(404, "NOT_FOUND - no exchange '\x1b[2J' in vhost '/'")
	f.Add(-2, strings.Repeat("\xff", 300))
	f.Fuzz(func(t *testing.T, code int, text string) {
		err := judge(code, text)
		if err == nil || len(err.Error()) > 1300 || strings.ContainsAny(err.Error(), "\x1b\n\r") {
			t.Errorf("%d %q: %v", code, text, err)
		}
		if n := limitIn(err); n < 0 || n > 0 && !uplink.IsTooLarge(err) {
			t.Errorf("%d %q: a limit of %d", code, text, n)
		}
	})
}
