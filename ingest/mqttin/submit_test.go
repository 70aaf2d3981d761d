package mqttin

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

// A message that is submitted is decoded by its route, kept, and delivered.
func TestSubmissionsAreTreatedAsPublishes(t *testing.T) {
	w := newWorld(t, Config{})
	c := resume(t, w.src, 5, "panel")
	c.subscribe(1, 1, "dev/#")
	audit := reading.Reading{Device: "$tidegate", Metric: "sent", Value: reading.String("x")}
	o, err := w.src.Submit(t.Context(), Submission{Topic: "dev/pump", Payload: []byte(`{"temp":21.5}`), QoS: 1}, audit)
	if err == nil {
		err = o.Receipt.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Readings) != 1 || o.Readings[0].Metric != "temp" || o.Readings[0].Time == 0 || o.Fate != route.Decoded || o.Receivers != 1 {
		t.Errorf("%+v", o)
	}
	if got := c.read(); got.TopicName != "dev/pump" || string(got.Payload) != `{"temp":21.5}` || got.FixedHeader.Qos != 1 {
		t.Errorf("%+v", got)
	}
	if kept := w.custody.Stored(); len(kept) != 2 || kept[1].Metric != "sent" {
		t.Errorf("kept %v", kept)
	}
	if s := w.src.Stats(); s.Received[1] != 1 {
		t.Errorf("%+v", s)
	}
}

func TestSubmissionsThatCannotBeDecodedSayWhy(t *testing.T) {
	w := newWorld(t, Config{})
	o, err := w.src.Submit(t.Context(), Submission{Topic: "dev/pump", Payload: []byte(`{"temp":`)})
	if err != nil || o.Fate != route.Opaque || o.Why == nil || len(o.Readings) != 1 {
		t.Errorf("%+v, %v", o, err)
	}
	if s := w.src.Stats(); s.Opaque != 1 {
		t.Errorf("%+v", s)
	}
}

func TestARetainedSubmissionIsThereForWhoComesLater(t *testing.T) {
	w := newWorld(t, Config{})
	if _, err := w.src.Submit(t.Context(), Submission{Topic: "dev/pump/set", Payload: []byte("on"), QoS: 1, Retain: true}); err != nil {
		t.Fatal(err)
	}
	c := resume(t, w.src, 5, "pump")
	c.subscribe(1, 1, "dev/#")
	if got := c.read(); string(got.Payload) != "on" || !got.FixedHeader.Retain {
		t.Errorf("%+v", got)
	}
}

func TestWrongSubmissionsAreRefused(t *testing.T) {
	w := newWorld(t, Config{})
	for _, p := range []Submission{
		{Topic: ""}, {Topic: "a/+"}, {Topic: "$SYS/x"}, {Topic: "a", QoS: 3}, {Topic: "a", Payload: make([]byte, 1<<20)},
	} {
		if _, err := w.src.Submit(t.Context(), p); err == nil || len(err.Error()) > 200 {
			t.Errorf("%q %d: %v", p.Topic, p.QoS, err)
		}
	}
	if len(w.custody.Stored()) > 0 {
		t.Error("something was kept")
	}
	w.custody.Refuse(errors.New("no room"))
	if _, err := w.src.Submit(t.Context(), Submission{Topic: "a", Payload: []byte("1")}); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("%v", err)
	}
	w.stop()
	w.stop = func() {}
	if _, err := w.src.Submit(t.Context(), Submission{Topic: "a"}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("%v", err)
	}
}
