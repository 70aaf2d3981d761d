package stompout

import (
	"strings"
	"testing"

	"github.com/tidegate/tidegate/uplink"
)

const (
	isTransient = "transient"
	isPermanent = "permanent"
	isTooLarge  = "too large"
)

// classOf names the class of an error, or its delay.
func classOf(err error) string {
	delay, asked := uplink.RetryDelay(err)
	switch {
	case err == nil:
		return "accepted"
	case uplink.IsTooLarge(err):
		return isTooLarge
	case uplink.IsPermanent(err):
		return isPermanent
	case asked:
		return delay.String()
	}
	return isTransient
}

// TestEveryErrorHasItsClass is the table of what ActiveMQ and RabbitMQ have been seen
// to say, and of texts of Artemis, which nobody here has tried.
func TestEveryErrorHasItsClass(t *testing.T) {
	for _, c := range []struct{ message, body, class string }{
		{"User name [gw] or password is invalid.", "User name [gw] or password is invalid.", "1m0s"},
		{"The maximum data length was exceeded", "org.apache.activemq.transport.stomp.ProtocolException: The maximum data length was exceeded\n\tat org", isTooLarge},
		{"The maximum frame size was exceeded", "org.apache.activemq.transport.stomp.ProtocolException: The maximum frame size was exceeded\n\tat org", isTooLarge},
		{"The maximum header length was exceeded", "org.apache.activemq.transport.stomp.ProtocolException: The maximum header length was exceeded\n\tat org", isPermanent},
		{"Persistent store is Full, 100% of 4194304. Stopping producer (ID:vm-1) to prevent flooding queue://a. See http://activemq.apache.org/producer-flow-control.html for more info",
			"javax.jms.ResourceAllocationException: Persistent store is Full, 100% of 4194304. Stopping", "30s"},
		{"Usage Manager Memory Limit reached. Stopping producer", "javax.jms.ResourceAllocationException: Usage Manager Memory Limit reached. Stopping producer", "30s"},
		{"User gw is not authorized to write to: queue://no.a", "java.lang.SecurityException: User gw is not authorized to write to: queue://no.a", "1m0s"},
		{"corrupt", "javax.jms.MessageFormatException: corrupt", isPermanent},
		{"java.io.IOException", "java.io.IOException: disk on fire", isTransient},
		{"Bad CONNECT", "Access refused for user 'guest'\n", "1m0s"},
		{"Bad CONNECT", "Virtual host 'nope' access denied", "1m0s"},
		{"not_found", "NOT_FOUND - no exchange 'nope' in vhost '/'", "1m0s"},
		{"access_refused", "ACCESS_REFUSED - access to queue 'a' in vhost '/' refused for user 'gw'", "1m0s"},
		{"precondition_failed", "PRECONDITION_FAILED - message size 100001 is larger than configured max size 100000", isTooLarge},
		{"precondition_failed", "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'full' in vhost '/': received '2' but current is '1'", "1m0s"},
		{"AMQ229031: Unable to validate user from /127.0.0.1:1. Username: gw", "", "1m0s"},
		{`AMQ229102: Address "a" is full.`, "", "30s"},
		{"AMQ339001: Destination does not exist: a", "", "1m0s"},
		{"", "something", isTransient},
		{"", "", isTransient},
	} {
		err := judge(&frame{command: errorCommand, headers: []header{{"message", c.message}}, body: []byte(c.body)})
		if got := classOf(err); got != c.class {
			t.Errorf("%s / %s: %s, want %s (%v)", c.message, c.body, got, c.class, err)
		}
		if !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("no hint in %q", err)
		}
	}
}

func TestErrorsAreQuotedSafely(t *testing.T) {
	hostile := "\x1b[2J\xff\n" + strings.Repeat("a", 5000)
	err := judge(&frame{command: errorCommand, headers: []header{{"message", hostile}}, body: []byte(hostile)})
	if text := err.Error(); len(text) > 600 || strings.ContainsAny(text, "\x1b\n\xff") {
		t.Errorf("%q", text)
	}
}

// FuzzJudge: no ERROR makes judge panic, and none is custody.
func FuzzJudge(f *testing.F) {
	f.Add("Bad CONNECT", []byte("Access refused"))
	f.Add("precondition_failed", []byte("message size 1 is larger than configured max size 99999999999"))
	f.Fuzz(func(t *testing.T, message string, body []byte) {
		err := judge(&frame{command: errorCommand, headers: []header{{"message", message}}, body: body})
		if err == nil || len(err.Error()) > 2000 {
			t.Errorf("%q %q: %v", message, body, err)
		}
	})
}
