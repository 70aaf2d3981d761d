package amqp1out

import (
	"strings"
	"testing"

	"github.com/Azure/go-amqp"

	"github.com/tidegate/tidegate/uplink"
)

// TestEveryConditionHasItsClass is the table of what servers say.
func TestEveryConditionHasItsClass(t *testing.T) {
	for _, c := range []struct {
		condition amqp.ErrCond
		text      string
		rejected  bool
		class     string // or the delay
		hint      string
	}{
		{"amqp:link:message-size-exceeded", "", true, "too large", "smaller"},
		{"amqp:precondition-failed", "PRECONDITION_FAILED - message size 2000 is larger than configured max size 1000", false, "too large", "max_message_size"},
		{"amqp:precondition-failed", "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 't1'", false, "1m0s", "/amq/queue/NAME"},
		{"amqp:precondition-failed", "", false, "1m0s", "log"},
		{"amqp:not-found", "NOT_FOUND - no exchange 'nope' in vhost '/'", false, "1m0s", "create it"},
		{"amqp:not-found", "", true, "1m0s", "create it"},
		{"amqp:unauthorized-access", "", false, "1m0s", "password_file"},
		{"amqp:not-allowed", "", false, "1m0s", "policy"},
		{"amqp:not-implemented", "", false, "1m0s", "log"},
		{"amqp:resource-locked", "", false, "1m0s", "alone"},
		{"amqp:resource-deleted", "", false, "1m0s", "deleted"},
		{"amqp:connection:redirect", "", false, "1m0s", "url"},
		{"amqp:link:redirect", "", false, "1m0s", "url"},
		{"amqp:resource-limit-exceeded", "", true, "10s", "full"},
		{"com.microsoft:server-busy", "", true, "10s", "less"},
		{"com.microsoft:entity-disabled", "", false, "1m0s", "switched off"},
		{"com.microsoft:auth-failed", "", false, "1m0s", "password_file"},
		{noCredit, "", false, "10s", "credit"},
		{badLogin, "", false, "1m0s", "password_file"},
		{thrownAway, "", false, "1m0s", "create the queue"},
		{notThisOne, "", false, "1m0s", "[[uplink.amqp]]"},
		{noOutcome, "", true, "transient", "full"},
		{givenBack, "", false, "transient", "bound"},
		{"amqp:connection:forced", "", false, "transient", "stopped"},
		{"amqp:link:detach-forced", "", false, "transient", "idle"},
		{"amqp:internal-error", "", false, "transient", "log"},
		{"amqp:internal-error", "", true, "transient", "log"},
		{"amqp:decode-error", "", true, "permanent", "encoding"},
		{"amqp:decode-error", "", false, "transient", "AMQP 1.0"},
		{"example:bad-temperature", "", true, "permanent", "encoding"},
		{"example:bad-temperature", "", false, "transient", "AMQP 1.0"},
	} {
		err := judge(c.condition, c.text, c.rejected)
		if got := classOf(err); got != c.class {
			t.Errorf("%s %s: %s, want %s (%v)", c.condition, c.text, got, c.class, err)
		}
		if _, hint, _ := strings.Cut(err.Error(), " — hint: "); !strings.Contains(hint, c.hint) {
			t.Errorf("%s %s: hint %q, want %q in it", c.condition, c.text, hint, c.hint)
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

func TestOnlyAcceptedIsCustody(t *testing.T) {
	for class, state := range map[string]amqp.DeliveryState{
		"accepted":  &amqp.StateAccepted{},
		"transient": &amqp.StateReleased{},
		"permanent": &amqp.StateRejected{Error: &amqp.Error{Condition: "amqp:decode-error"}},
		"10s":       &amqp.StateRejected{Error: &amqp.Error{Condition: "amqp:resource-limit-exceeded"}},
	} {
		if got := classOf(outcome(state)); got != class {
			t.Errorf("%T: %s, want %s", state, got, class)
		}
	}
	for _, state := range []amqp.DeliveryState{&amqp.StateModified{}, &amqp.StateReceived{}, &amqp.StateRejected{}, &amqp.StateRejected{Error: &amqp.Error{}}, nil} {
		if got := classOf(outcome(state)); got != "transient" {
			t.Errorf("%T: %s, want transient", state, got)
		}
	}
}

// FuzzJudge: no text makes judge panic, be custody, or show a terminal what it
// should not see.
func FuzzJudge(f *testing.F) {
	f.Add("amqp:precondition-failed", "message size 2000 is larger than configured max size 1000", false)
	f.Add("amqp:not-found", "no \x1b[2J", true)
	f.Fuzz(func(t *testing.T, condition, text string, rejected bool) {
		err := judge(amqp.ErrCond(condition), text, rejected)
		if err == nil || len(err.Error()) > 3000 || strings.ContainsAny(err.Error(), "\x1b\n\r") {
			t.Errorf("%q %q: %v", condition, text, err)
		}
		if n := limitIn(err); n < 0 || n > 0 && !uplink.IsTooLarge(err) {
			t.Errorf("%q %q: a limit of %d", condition, text, n)
		}
	})
}

func TestWhichTargetsCanBeAskedFor(t *testing.T) {
	for target, want := range map[string]string{
		"/amq/queue/q": "/amq/queue/q", "/queue/q": "/amq/queue/q", "q": "/amq/queue/q",
		"/exchange/x": "", "/exchange/x/key": "", "/topic/k": "", "/temp-queue/q": "",
	} {
		queue, ok := queueOf(target)
		if ok != (want != "") || ok && queue != want {
			t.Errorf("%s: %s %v, want %q", target, queue, ok, want)
		}
	}
	for version, want := range map[string]bool{"3.10.8": true, "3.13.0": true, "4.0.2": false, "4.1": false, "10.0": false, "": true, "x": true} {
		if got := (peer{"RabbitMQ", version}).losesQuietly(); got != want {
			t.Errorf("RabbitMQ %q: %v, want %v", version, got, want)
		}
	}
	if (peer{"apache-activemq-artemis", "2.30"}).losesQuietly() || (peer{}).losesQuietly() {
		t.Error("others do as well")
	}
}
