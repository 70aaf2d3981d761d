package natsout

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidegate/tidegate/uplink"
)

const (
	accepted    = "accepted"
	isTransient = "transient"
	isPermanent = "permanent"
	isTooLarge  = "too large"
)

// classOf names the class of an error, or its delay.
func classOf(err error) string {
	delay, asked := uplink.RetryDelay(err)
	switch {
	case err == nil:
		return accepted
	case uplink.IsTooLarge(err):
		return isTooLarge
	case uplink.IsPermanent(err):
		return isPermanent
	case asked:
		return delay.String()
	}
	return isTransient
}

// TestEveryAnswerHasItsClass is the table of what comes on the reply subject.
func TestEveryAnswerHasItsClass(t *testing.T) {
	refused := func(code int) string {
		return fmt.Sprintf(`{"error":{"code":400,"err_code":%d,"description":"no"},"stream":"S","seq":0}`, code)
	}
	for _, c := range []struct{ status, body, class string }{
		{"", `{"stream":"S","seq":1}`, accepted},
		{"", `{"type":"io.nats.jetstream.api.v1.pub_ack_response","stream":"S","domain":"hub","seq":18446744073709551615,"duplicate":true}`, accepted},
		{"", `{"stream":"S","seq":0}`, isTransient},
		{"", `{"stream":"","seq":1}`, isTransient},
		{"", `{"seq":1}`, isTransient},
		{"", `{"stream":"S","seq":-1}`, isTransient},
		{"", `+OK`, isTransient},
		{"", ``, isTransient},
		{"", `null`, isTransient},
		{"408", `{"stream":"S","seq":1}`, isTransient},
		{"503", "", "1m0s"},
		{"", `{"stream":"S","seq":1,"error":{"err_code":10077}}`, "30s"},
		{"", refused(10077), "30s"},
		{"", refused(10002), "30s"},
		{"", refused(10008), isTransient},
		{"", refused(10009), isTransient},
		{"", refused(10023), "30s"},
		{"", refused(10028), "30s"},
		{"", refused(10039), "1m0s"},
		{"", refused(10047), "30s"},
		{"", refused(10054), isTooLarge},
		{"", refused(10059), "1m0s"},
		{"", refused(10060), "1m0s"},
		{"", refused(10070), "1m0s"},
		{"", refused(10071), "1m0s"},
		{"", refused(10076), "1m0s"},
		{"", refused(10097), isPermanent},
		{"", refused(10109), "1m0s"},
		{"", refused(10164), "1m0s"},
		{"", refused(19999), isTransient},
	} {
		err := judgeAnswer(c.status, []byte(c.body), answer{subject: "telemetry", size: 100}, "")
		if got := classOf(err); got != c.class {
			t.Errorf("%s %s: %s, want %s (%v)", c.status, c.body, got, c.class, err)
		}
		if err != nil && strings.Count(err.Error(), " — hint: ") != 1 {
			t.Errorf("no hint, or two, in %q", err)
		}
	}
}

// TestEveryFaultHasItsClass is the table of what the library says.
func TestEveryFaultHasItsClass(t *testing.T) {
	for err, class := range map[error]string{
		nats.ErrMaxPayload: isTooLarge, nats.ErrAuthorization: "1m0s", nats.ErrAuthExpired: "1m0s", nats.ErrAuthRevoked: "1m0s",
		nats.ErrAccountAuthExpired: "1m0s", nats.ErrNkeysNotSupported: "1m0s", nats.ErrSecureConnWanted: "1m0s",
		nats.ErrSecureConnRequired: "1m0s", nats.ErrMaxConnectionsExceeded: "1m0s", nats.ErrMaxAccountConnectionsExceeded: "1m0s",
		nats.ErrHeadersNotSupported: "1m0s", nats.ErrStaleConnection: isTransient, nats.ErrNoInfoReceived: isTransient,
		nats.ErrSlowConsumer: isTransient, nats.ErrPermissionViolation: "1m0s", errors.New("nats: Maximum Payload Violation"): isTooLarge,
		fs.ErrNotExist: "1m0s", fs.ErrPermission: "1m0s", errors.New("nats: whatever"): isTransient, nats.ErrConnectionClosed: isTransient,
	} {
		got := judge(fmt.Errorf("wrapped: %w", err), 100)
		if classOf(got) != class || strings.Count(got.Error(), " — hint: ") != 1 {
			t.Errorf("%v: %s, want %s (%v)", err, classOf(got), class, got)
		}
		if again := judge(got, 100); class != isTransient && classOf(again) != class {
			t.Errorf("%v is judged twice: %v", err, again)
		}
	}
}

// FuzzJudgeAnswer: no answer makes judgeAnswer panic, and nothing without a stream
// and a number is custody.
func FuzzJudgeAnswer(f *testing.F) {
	f.Add("", []byte(`{"stream":"S","seq":1,"duplicate":true}`))
	f.Add("503", []byte(nil))
	f.Add("", []byte(`{"error":{"code":400,"err_code":10077,"description":"maximum messages exceeded"}}`))
	f.Fuzz(func(t *testing.T, status string, body []byte) {
		err := judgeAnswer(status, body, answer{subject: "s", size: 1}, "")
		if err == nil && (status != "" || !strings.Contains(strings.ToLower(string(body)), "s") || len(body) < len(`{"stream":"S","seq":1}`)) {
			t.Errorf("%q %q was taken for custody", status, body)
		}
		if err != nil && len(err.Error()) > 3000 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}
