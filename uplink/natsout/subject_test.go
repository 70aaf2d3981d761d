package natsout

import (
	"strings"
	"testing"

	"github.com/tidegate/tidegate/uplink/uplinktest"
)

func accept(uplinktest.Received) uplinktest.Verdict { return uplinktest.Accept }

func TestNamesBecomeTokens(t *testing.T) {
	for name, want := range map[string]string{
		"boiler-7_a": "boiler-7_a", "a.b": "a%2Eb", "a b\t": "a%20b%09", "*": "%2A", ">": "%3E", "$JS": "%24JS", "50%": "50%25",
		"": "%", "ü/é:1": "ü/é:1", "a\r\nPUB": "a%0D%0APUB", "\x00\x7f": "%00%7F",
	} {
		got := Escape(name)
		if got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		if err := CheckSubject("plant." + got); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// FuzzEscape: different names are different tokens, and each is one token.
func FuzzEscape(f *testing.F) {
	f.Add("a.b", "a%2Eb")
	f.Add("", "%")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := Escape(a), Escape(b)
		if a != b && x == y {
			t.Errorf("%q and %q are both %q", a, b, x)
		}
		if x == "" || strings.ContainsAny(x, ". *>$\r\n\t\x00") {
			t.Errorf("%q is no token", x)
		}
	})
}

func TestSubjectsThatCannotWorkAreRefused(t *testing.T) {
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", "a b", "a.*", "a.>", "$JS.API.x", "a\nb", strings.Repeat("a", maxSubject+1)} {
		if err := CheckSubject(bad); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{"a", "telemetry.{gateway}.{device}", "plant-{gateway}", "a.$b"} {
		if err := CheckSubject(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	subject := template(t, "telemetry")
	for name, cfg := range map[string]Config{
		"NoServer":  {Subject: subject},
		"NoPort":    {Servers: []string{"server"}, Subject: subject},
		"NoSubject": {Servers: []string{"server:1"}},
		"TwoLogins": {Servers: []string{"server:1"}, Subject: subject, Username: "a", CredsFile: "b"},
		"Inbox":     {Servers: []string{"server:1"}, Subject: subject, InboxPrefix: "a.>"},
		"Stream":    {Servers: []string{"server:1"}, Subject: subject, Stream: "a.b"},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSubjectsHaveABound(t *testing.T) {
	sink := newSink(t, Config{Servers: []string{peer(t, accept)}, Subject: template(t, "plant.{device}")})
	err := sink.Send(within(t, soon), inParts(message(0, 10), strings.Repeat("a", maxSubject)))
	if classOf(err) != isPermanent {
		t.Errorf("%v", err)
	}
	if err := sink.Send(within(t, soon), inParts(message(0, 10), "short")); err != nil {
		t.Errorf("after it: %v", err)
	}
}

func TestWildcardsStandForWhatMessagesFillIn(t *testing.T) {
	for subject, want := range map[string]string{"a": "a", "a.{gateway}": "a.*", "x-{device}.b.{metric}": "*.b.*"} {
		if got := wildcard(subject); got != want {
			t.Errorf("%s: %s, want %s", subject, got, want)
		}
	}
}
