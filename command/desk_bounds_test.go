package command

import (
	"context"
	"fmt"
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheOutboxIsBounded(t *testing.T) {
	w := newWorld(t, nil)
	for i := range maxOutbox {
		w.clerk.tell(Answer{ID: fmt.Sprint(i), Wanted: true})
	}
	_, last := w.clerk.Outbox()
	w.clerk.tell(Answer{ID: "new", Wanted: true})
	w.clerk.Told(last) // of which one was dropped meanwhile
	if answers, _ := w.clerk.Outbox(); len(answers) != 1 || answers[0].ID != "new" || w.desk.Stats().Untold != 1 {
		t.Errorf("%+v, %d untold", answers, w.desk.Stats().Untold)
	}
}

func TestIDsAreForgottenOnlyWhenTheyMayBe(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxRemembered, c.Remember = 3, time.Hour })
	doc := func(i int) string { return fmt.Sprintf(`{"id":"%d","topic":"dev/pump/set","ttl":"1m"}`, i) }
	for i := range 3 {
		w.want(Accepted, "", doc(i))
		w.time.pass(time.Second)
	}
	w.want(Refused, "raise max_remembered", doc(3))
	w.want(Duplicate, "", doc(0)) // one that is known needs no room
	w.time.pass(58 * time.Second) // the first two have expired
	w.want(Accepted, "", doc(4))
	w.want(Duplicate, "", doc(1))
	w.want(Duplicate, "", doc(2))
	w.crash(0, true)
	w.want(Duplicate, "", doc(1))
	w.want(Duplicate, "", doc(4))
	w.time.pass(2 * time.Hour)
	w.want(Accepted, "", doc(5))
	if s := w.desk.Stats(); s.Remembered != 1 || len(w.custody.Noted()) != 1 {
		t.Errorf("%d remembered, notes %v", s.Remembered, w.custody.Noted())
	}
}

// An ID that is to be forgotten and comes again is not forgotten afterwards.
func TestAnIDThatComesAgainStays(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Remember = time.Second })
	const doc = `{"id":"1","topic":"dev/pump/set","ttl":"1m"}`
	w.want(Accepted, "", doc)
	w.time.pass(2 * time.Minute)
	w.desk.mu.Lock()
	w.desk.memory.remove(w.desk.memory.entries["1"])
	w.desk.mu.Unlock()
	w.want(Accepted, "", doc)
	w.want(Accepted, "", strings.Replace(doc, `"1"`, `"2"`, 1))
	w.crash(0, true)
	w.want(Duplicate, "", doc)
}

func TestTooManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		custody := ingesttest.NewCustody()
		custody.CommitAtOnce()
		desk := New(Config{Gateway: "g", Allow: []string{"#"}, Rate: 60}, &outlet{custody: custody, receivers: 1}, ingest.NewIntake(custody, nil, time.Now), slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go desk.Run(ctx)
		clerk, began := desk.Clerk("c", Narrow{}), time.Now()
		for i := range 120 {
			if _, err := clerk.Decide(ctx, Letter{Body: fmt.Appendf(nil, `{"id":"%d","topic":"t"}`, i)}); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d < 59*time.Second || d > 62*time.Second {
			t.Errorf("120 at 60 a minute took %v, and 60 may come at once", d)
		}
	})
}

// deskInVirtualTime returns a desk whose clock is that of the test's bubble.
func deskInVirtualTime(custody *ingesttest.Custody) *Desk {
	began := time.Now()
	clock := Clock{Boot: 1, Uptime: func() time.Duration { return time.Since(began) }, Now: time.Now, Synced: func() bool { return true }}
	return New(Config{Gateway: "g", Allow: []string{"#"}, Clock: clock}, &outlet{custody: custody, receivers: 1}, ingest.NewIntake(custody, nil, time.Now), slog.New(slog.DiscardHandler))
}

// What no device has acknowledged in time is said to have expired, once.
func TestLateExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		custody := ingesttest.NewCustody()
		custody.CommitAtOnce()
		desk := deskInVirtualTime(custody)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go desk.Run(ctx)
		clerk := desk.Clerk("c", Narrow{})
		for _, doc := range []string{`{"id":"1","topic":"t","ttl":"1m"}`, `{"id":"2","topic":"t","ttl":"2m"}`, `{"id":"3","topic":"t","ttl":"1m","qos":0}`} {
			if _, err := clerk.Decide(ctx, Letter{Body: []byte(doc)}); err != nil {
				t.Fatal(err)
			}
		}
		desk.Delivered("2", "pump")
		time.Sleep(5 * time.Minute)
		answers, _ := clerk.Outbox()
		if len(answers) != 2 || answers[0].State != Delivered || answers[1].ID != "1" || answers[1].State != Expired {
			t.Errorf("answers %+v", answers)
		}
		desk.Delivered("1", "pump") // it was on the wire already
		synctest.Wait()
		if answers, _ := clerk.Outbox(); len(answers) != 3 || answers[2].State != Delivered {
			t.Errorf("answers %+v", answers)
		}
	})
}

// The courier's connection breaks while a command is on its way to flash: what becomes
// of the command is noted and told in time all the same.
func TestLateExpiryOfWhatNobodyWaitedFor(t *testing.T) {
	for name, commitAfter := range map[string]time.Duration{"committed in time": time.Second, "committed when it was over": 90 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				custody := ingesttest.NewCustody()
				desk := deskInVirtualTime(custody)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go desk.Run(ctx)
				clerk := desk.Clerk("c", Narrow{})
				connected, cut := context.WithCancel(ctx)
				time.AfterFunc(time.Millisecond, cut)
				if _, err := clerk.Decide(connected, Letter{Body: []byte(`{"id":"1","topic":"t","ttl":"1m"}`)}); err == nil {
					t.Fatal("decided before it is on flash")
				}
				time.AfterFunc(commitAfter, custody.CommitAtOnce)
				time.Sleep(2 * time.Minute)
				if answers, _ := clerk.Outbox(); len(answers) != 1 || answers[0].State != Expired {
					t.Errorf("answers %+v", answers)
				}
			})
		})
	}
}

func TestDamagedNotesAreForgotten(t *testing.T) {
	w := newWorld(t, nil)
	for i, value := range []string{"", "x", "{}", `{"topic":"t","Left":-1}`} {
		receipt, err := w.custody.Accept(t.Context(), nil, reading.Note{Key: fmt.Sprint(notePrefix, i), Value: []byte(value)})
		if err != nil || receipt.Wait(t.Context()) != nil {
			t.Fatal(err)
		}
	}
	w.crash(0, true)
	w.want(Accepted, "", `{"id":"1","topic":"dev/pump/set"}`)
	if n := w.custody.Noted(); len(n) != 1 {
		t.Errorf("notes %v", n)
	}
}
