package natsout

import (
	"strings"
	"testing"

	"github.com/tidegate/tidegate/uplink"
)

func TestMessageOfNoPartsIsNotSent(t *testing.T) {
	address, _, arrived := collector(t, "")
	if err := newSink(t, Config{Servers: []string{address}}).Send(within(t, soon), uplink.Message{Parts: []uplink.Part{}}); err != nil {
		t.Error(err)
	}
	if len(arrived) != 0 {
		t.Error("it was sent")
	}
}

// Servers before 2.2, and whatever answers in their place, do not look at the
// expected stream. What another one has is not where it was to go.
func TestAnotherStreamsWordIsNoCustody(t *testing.T) {
	address, _, arrived := collector(t, "")
	sink := newSink(t, Config{Servers: []string{address}, Stream: "TELEMETRY"})
	for stream, want := range map[string]string{"TELEMETRY": "accepted", "SCRATCH": "1m0s"} {
		ended := begin(within(t, soon), sink, message(0, 30))
		p := receive(t, arrived)
		p.conn.reply(p.publish, `{"stream":"`+stream+`","seq":7}`)
		if err := receive(t, ended); classOf(err) != want || err != nil && !strings.Contains(err.Error(), "SCRATCH") {
			t.Errorf("%s: %v, want %s", stream, err, want)
		}
	}
}

// A stream counts the headers, which are large for a device with a long name. That
// its few bytes were refused does not make all other messages as small.
func TestLongNameDoesNotMakeEverythingSmall(t *testing.T) {
	address, _, arrived := collector(t, "")
	sink := newSink(t, Config{Servers: []string{address}})
	m := inParts(message(0, 100), strings.Repeat("d", 3000))
	m.Parts[0].Last++ // not alone: its key needs the device
	ended := begin(within(t, soon), sink, m)
	p := receive(t, arrived)
	p.conn.reply(p.publish, `{"error":{"err_code":10054,"description":"message size exceeds maximum allowed"}}`)
	if err := receive(t, ended); classOf(err) != isTooLarge {
		t.Error(err)
	}
	if n := sink.Limit(); n < 5000 {
		t.Errorf("the limit is %d, and 6 kB with the headers were too large", n)
	}
}

// Whatever was refused, the limit that is learnt from it comes down until what is
// under it is not.
func TestLearntLimitComesDown(t *testing.T) {
	const most = 400 // with headers
	sink := newSink(t, Config{Servers: []string{"server:4222"}})
	size := 4000
	for range 100 {
		m := message(0, size)
		total := size + headOf(m, m.Pieces()[0])
		if total <= most {
			if size < 100 {
				t.Errorf("only %d bytes are left", size)
			}
			return
		}
		sink.learn(refusal(10054, "too large", size), m)
		if n := sink.Limit(); n >= size || n < 1 {
			t.Fatalf("the limit is %d, and %d were too large", n, size)
		}
		size = sink.Limit()
	}
	t.Errorf("it stays at %d", size)
}
