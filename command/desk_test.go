package command

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestACommandIsPublishedOnceAndAudited(t *testing.T) {
	w := newWorld(t, nil)
	const doc = `{"id":"a-1","topic":"dev/pump/set","payload":"secret on","sender":"anna","ttl":"90s"}`
	a := w.want(Accepted, "", doc)
	if a.Receivers == nil || *a.Receivers != 1 || a.Topic != "dev/pump/set" || a.Gateway != "north-7" || !a.Wanted {
		t.Errorf("answered %+v", a)
	}
	if p := w.outlet.all[0]; p != (published{"dev/pump/set", "secret on", 1, false, 90 * time.Second}) {
		t.Errorf("published %+v", p)
	}
	again := w.want(Duplicate, "", doc)
	if again.Of != Accepted {
		t.Errorf("answered %+v", again)
	}
	w.want(Refused, "another command had this id", strings.Replace(doc, "secret on", "off", 1))
	all := w.audits()
	if len(all) != 3 || all[0].Decision != Accepted || all[0].Sender != "anna" || all[0].Courier != "test" || all[1].Decision != Duplicate || all[2].Decision != Refused {
		t.Errorf("audited %+v", all)
	}
	if s := w.desk.Stats(); s.Accepted != 1 || s.Duplicates != 1 || s.Refused != 1 || s.Remembered != 1 || s.Last.ID != "a-1" {
		t.Errorf("stats %+v", s)
	}
	w.stop()
	w.stop = func() {}
	if log := w.logged.String(); strings.Contains(log, "secret") || strings.Count(log, "\n") != 3 {
		t.Errorf("logged\n%s", log)
	}
}

func TestNothingIsAllowedByDefault(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Allow = nil })
	w.want(Refused, "no rule allows", `{"id":"1","topic":"dev/pump/set"}`)
}

func TestWhatIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	for reason, doc := range map[string]string{
		"no rule allows commands":    `{"id":"1","topic":"dev/pump/get"}`,
		"no rule allows":             `{"id":"1","topic":"dev/a/b/set"}`,
		"the broker's own":           `{"id":"1","topic":"$SYS/set"}`,
		"holds a wildcard":           `{"id":"1","topic":"dev/+/set"}`,
		"wildcard":                   `{"id":"1","topic":"dev/#"}`,
		"the topic is empty":         `{"id":"1","topic":""}`,
		"may not be retained":        `{"id":"1","topic":"dev/pump/set","retain":true}`,
		"name a topic here":          `{"id":"1","device":"pump"}`,
		"it is for the gateway":      `{"id":"1","gateway":"south","topic":"dev/pump/set"}`,
		"max_ttl is 24h":             `{"id":"1","topic":"dev/pump/set","ttl":"25h"}`,
		"in the future":              `{"id":"1","topic":"dev/pump/set","issued":"2026-06-01T12:06:00Z"}`,
		"there is no key":            `{"id":"1","topic":"dev/pump/set","qoS":1}`,
		"there is no key here":       `{"command":"{}","hmac":"00"}`,
		"it is no JSON object":       `on`,
		"needs \"topic\" or":         `{"id":"1"}`,
		"\"id\" is missing":          `{"topic":"dev/pump/set"}`,
		"stands there twice":         `{"id":"1","id":"2","topic":"dev/pump/set"}`,
		"something stands behind":    `{"id":"1","topic":"dev/pump/set"} {}`,
		"an id has 1 to 64":          `{"id":"a b","topic":"dev/pump/set"}`,
		"exclude each other":         `{"id":"1","topic":"dev/pump/set","payload":"a","payload_base64":"YQ=="}`,
		"is no base64":               `{"id":"1","topic":"dev/pump/set","payload_base64":"YQ"}`,
		"\"qos\" is 0, 1 or 2":       `{"id":"1","topic":"dev/pump/set","qos":3}`,
		"\"ttl\" is no time to live": `{"id":"1","topic":"dev/pump/set","ttl":"soon"}`,
	} {
		w.want(Refused, reason, doc)
	}
	if s := w.desk.Stats(); s.Remembered != 0 {
		t.Errorf("%d are remembered", s.Remembered)
	}
}

func TestACourierMayDoLess(t *testing.T) {
	w := newWorld(t, nil)
	w.clerk = w.desk.Clerk("test", Narrow{Allow: []string{"dev/valve/set", "other/#"}})
	w.want(Accepted, "", `{"id":"1","topic":"dev/valve/set"}`)
	w.want(Refused, "table of test", `{"id":"2","topic":"dev/pump/set"}`)
	w.want(Refused, "no rule", `{"id":"3","topic":"other/x"}`) // a courier adds nothing
}

func TestDevicesHaveATopic(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.DeviceTopic = "dev/{device}/set" })
	if a := w.want(Accepted, "", `{"id":"1","device":"pump"}`); a.Topic != "dev/pump/set" {
		t.Errorf("goes to %s", a.Topic)
	}
	w.want(Refused, "no rule", `{"id":"2","device":"pump/x"}`)
	w.want(Refused, "wildcard", `{"id":"3","device":"+"}`)
}

func TestExpiry(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxAge = 10 * time.Minute })
	for i, c := range []struct {
		state  State
		reason string
		rest   string
		left   time.Duration
	}{
		{Accepted, "", ``, 5 * time.Minute},
		{Accepted, "", `,"ttl":30`, 30 * time.Second},
		{Accepted, "", `,"expires":"2026-06-01T12:00:59Z"`, 59 * time.Second},
		{Accepted, "", `,"expires":1780315259`, 59 * time.Second},
		{Accepted, "", `,"expires":"2026-06-01T12:30:00Z","ttl":"1m"`, time.Minute},
		{Accepted, "", `,"expires":"2026-06-01T12:00:30Z","ttl":"1m"`, 30 * time.Second},
		{Accepted, "", `,"issued":"2026-06-01T11:59:30Z","ttl":"1m"`, 30 * time.Second},
		{Accepted, "", `,"ttl":"1500ms"`, time.Second},
		{Expired, "its time was over", `,"ttl":"900ms"`, 0},
		{Expired, "its time was over 1s ago", `,"expires":"2026-06-01T11:59:59Z"`, 0},
		{Expired, "its time was over 30s ago", `,"issued":"2026-06-01T11:59:00Z","ttl":"30s"`, 0},
		{Expired, "max_age is 10m", `,"issued":"2026-06-01T11:49:00Z","ttl":"1h"`, 0},
	} {
		w.want(c.state, c.reason, fmt.Sprintf(`{"id":"%d","topic":"dev/pump/set"%s}`, i, c.rest))
		if last := len(w.outlet.all) - 1; c.state == Accepted && w.outlet.all[last].left != c.left {
			t.Errorf("%s: left %v, want %v", c.rest, w.outlet.all[last].left, c.left)
		}
	}
	// A broker that says since when it has had a command.
	a, err := w.clerk.Decide(t.Context(), Letter{Body: []byte(`{"id":"q","topic":"dev/pump/set","ttl":"30s"}`), Queued: noon.Add(-time.Minute)})
	if err != nil || a.State != Expired {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestAClockThatIsNotSynchronisedCountsFromTheArrival(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxAge = time.Minute })
	w.time.synced = false
	a := w.want(Accepted, "", `{"id":"1","topic":"dev/pump/set","ttl":"30s","issued":"2020-01-01T00:00:00Z"}`)
	if a.Clock != "unsynced" || w.outlet.all[0].left != 30*time.Second {
		t.Errorf("answered %+v, published %+v", a, w.outlet.all)
	}
	w.want(Accepted, "", `{"id":"2","topic":"dev/pump/set"}`)
	w.want(Refused, "not synchronised", `{"id":"3","topic":"dev/pump/set","expires":"2030-01-01T00:00:00Z"}`)
}

func TestSignatures(t *testing.T) {
	key, old, other := []byte("0123456789abcdef-new"), []byte("0123456789abcdef-old"), []byte("0123456789abcdef-xxx")
	w := newWorld(t, func(c *Config) { c.Keys = Keys{key, old} })
	doc := func(id, rest string) []byte {
		return fmt.Appendf(nil, `{"id":"%s","topic":"dev/pump/set"%s}`, id, rest)
	}
	const good = `,"gateway":"north-7","expires":"2026-06-01T12:01:00Z","payload":"<ü\u0000>"`
	w.want(Accepted, "", string(Sign(doc("1", good), key)))
	w.want(Accepted, "", string(Sign(doc("2", good), old)))
	w.want(Refused, "no key that is known", string(Sign(doc("3", good), other)))
	w.want(Refused, "not signed", string(doc("4", good)))
	w.want(Refused, "for which gateway", string(Sign(doc("5", `,"expires":"2026-06-01T12:01:00Z"`), key)))
	w.want(Refused, "until when", string(Sign(doc("6", `,"gateway":"north-7","ttl":"1m"`), key)))
	w.want(Accepted, "", string(Sign(doc("7", `,"gateway":"north-7","ttl":"1m","issued":"2026-06-01T12:00:00Z"`), key)))
	w.want(Refused, "for the gateway", string(Sign(doc("8", strings.Replace(good, "north-7", "south", 1)), key)))
	w.want(Refused, "not whole", `{"command":"{}","hmac":""}`)
	bent := strings.Replace(string(Sign(doc("9", good), key)), "pump", "gate", 1)
	w.want(Refused, "no key that is known", bent)
	w.time.synced = false
	w.want(Refused, "good for a time only", string(Sign(doc("10", good), key)))
}

func TestACrashForgetsNoID(t *testing.T) {
	w := newWorld(t, nil)
	const doc = `{"id":"1","topic":"dev/pump/set","ttl":"1h"}`
	w.want(Accepted, "", doc)
	w.crash(time.Minute, true)
	w.want(Duplicate, "", doc)
	w.crash(0, false) // and 1970 for all that the gateway knows
	w.time.now = time.Unix(100, 0)
	w.want(Duplicate, "", doc)
	if n := len(w.outlet.all); n != 1 {
		t.Errorf("published %d times", n)
	}
}

// A commit that fails publishes nothing and remembers nothing.
func TestACommitThatFailsIsNoDecision(t *testing.T) {
	w := newWorld(t, nil)
	const doc = `{"id":"1","topic":"dev/pump/set"}`
	w.custody.CommitNever()
	decided := make(chan error, 2)
	for range 2 { // the second waits for the first
		go func() {
			_, err := w.clerk.Decide(t.Context(), Letter{Body: []byte(doc)})
			decided <- err
		}()
	}
	eventually(t, "it is handed over", func() bool { w.custody.Close(); return w.custody.Finish(errNoRoom) })
	if err := <-decided; !errors.Is(err, errNoRoom) {
		t.Errorf("got %v", err)
	}
	w.custody.CommitAtOnce() // the other one had its turn then
	if err := <-decided; err != nil && !errors.Is(err, errNoRoom) {
		t.Errorf("got %v", err)
	}
	if a := w.bring(doc); a.State != Accepted && a.State != Duplicate {
		t.Errorf("got %+v", a)
	}
	w.outlet.fail = errNoRoom
	if _, err := w.clerk.Decide(t.Context(), Letter{Body: []byte(`{"id":"2","topic":"dev/pump/set"}`)}); !errors.Is(err, errNoRoom) {
		t.Errorf("got %v", err)
	}
	w.outlet.fail = nil
	w.want(Accepted, "", `{"id":"2","topic":"dev/pump/set"}`)
}

func TestManyBringTheSameAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	states := make(chan State, 50)
	for i := range cap(states) {
		clerk := w.desk.Clerk(fmt.Sprint("courier ", i%5), Narrow{})
		go func() {
			a, err := clerk.Decide(t.Context(), Letter{Body: []byte(`{"id":"1","topic":"dev/pump/set"}`)})
			if err != nil {
				t.Error(err)
			}
			states <- a.State
		}()
	}
	got := map[State]int{}
	for range cap(states) {
		got[<-states]++
	}
	if got[Accepted] != 1 || got[Duplicate] != 49 || len(w.outlet.all) != 1 {
		t.Errorf("decided %v, published %d times", got, len(w.outlet.all))
	}
}

func TestDeliveriesAreAnswered(t *testing.T) {
	w := newWorld(t, nil)
	const doc = `{"id":"1","topic":"dev/pump/set","sender":"anna"}`
	a, err := w.clerk.Decide(t.Context(), Letter{Body: []byte(doc), ReplyTo: "inbox"})
	if err != nil || a.State != Accepted {
		t.Fatalf("%+v, %v", a, err)
	}
	w.crash(0, true) // the way back is remembered, too
	w.want(Duplicate, "", doc)
	w.desk.Delivered("1", "pump-7")
	w.desk.Delivered("1", "pump-8") // the first one counts
	w.desk.Delivered("unknown", "pump-7")
	<-w.clerk.More()
	answers, last := w.clerk.Outbox()
	if len(answers) != 1 || answers[0].State != Delivered || answers[0].By != "pump-7" || answers[0].ReplyTo != "inbox" {
		t.Errorf("answers %+v", answers)
	}
	w.clerk.Told(last)
	if answers, _ := w.clerk.Outbox(); len(answers) != 0 {
		t.Errorf("still there: %+v", answers)
	}
	w.crash(0, true)
	if a := w.want(Duplicate, "", doc); a.Of != Delivered {
		t.Errorf("answered %+v", a)
	}
	if all := w.audits(); all[2].Decision != Delivered || all[2].By != "pump-7" || all[2].Sender != "anna" {
		t.Errorf("audited %+v", all)
	}
}

// The answers of couriers whose answers nobody wants do not pile up.
func TestWhoDoesNotWantToKnowIsNotTold(t *testing.T) {
	w := newWorld(t, nil)
	if a := w.bring(`{"id":"1","topic":"dev/pump/set","reply":false}`); a.Wanted {
		t.Errorf("answered %+v", a)
	}
	w.desk.Delivered("1", "pump-7")
	eventually(t, "it is noted", func() bool { return w.desk.Stats().Delivered == 1 })
	if answers, _ := w.clerk.Outbox(); len(answers) != 0 {
		t.Errorf("answers %+v", answers)
	}
}
