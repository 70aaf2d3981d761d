package mqttin

import (
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/refine"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

// touchy is a decoder that cannot bear one payload.
type touchy struct{ decode.Decoder }

func (d touchy) Decode(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	if string(f.Payload) == "boom" {
		panic("boom")
	}
	return d.Decoder.Decode(dst, f)
}

// refined are routes whose readings are left out when they do not differ.
func refined(t testing.TB) *route.Table {
	t.Helper()
	chain, err := refine.New(refine.Config{Steps: []refine.Step{{Deadband: new(float64)}}})
	if err != nil {
		t.Fatal(err)
	}
	json := touchy{decode.NewJSON(decode.JSONConfig{})}
	table, err := route.NewTable([]route.Rule{{Topic: "{device}/m", Decoder: json, Refine: chain}}, json)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// A panic costs a connection what it has sent and what was not acknowledged. What
// is sent again must not be left out as a repeat of it.
func TestNothingLeansOnWhatAPanicHasCost(t *testing.T) {
	custody := instant()
	src := start(t, custody, Config{Routes: refined(t)})
	bad := connect(t, src, 4, "a")
	first, second := publishPacket("a/m", "1", 1, 1), publishPacket("a/m", "boom", 1, 2)
	if _, err := bad.Write(append(bad.encode(first), bad.encode(second)...)); err != nil { // of one batch
		t.Fatal(err)
	}
	if answers := bad.hungUp(); len(answers) != 0 {
		t.Errorf("answered: %v", answers)
	}
	good := connect(t, src, 4, "a")
	good.publish("a/m", "1", 1, 1)
	good.expect(packets.Puback, 1)
	if got := custody.Stored(); len(got) != 1 {
		t.Errorf("acknowledged, and stored: %v", got)
	}
	good.publish("a/m", "1", 1, 2)
	good.expect(packets.Puback, 2)
	if got := custody.Stored(); len(got) != 1 {
		t.Errorf("it is not filtered any more: %v", got)
	}
}

// The first connection is half dead, and the device sends again on another, with
// another client identifier.
func TestARepeatWaitsForTheFirstOne(t *testing.T) {
	for _, ending := range []string{"commit", "fail"} {
		custody := ingesttest.NewCustody()
		src := start(t, custody, Config{Routes: refined(t)})
		first, second := connect(t, src, 4, "a1"), connect(t, src, 4, "a2")
		first.publish("a/m", "1", 1, 1)
		custody.Taken(t, 1)
		second.publish("a/m", "1", 1, 1)
		second.silent()
		if ending == "commit" {
			custody.Commit()
			first.expect(packets.Puback, 1)
			second.expect(packets.Puback, 1)
			continue
		}
		custody.Fail(ingest.ErrFull)
		if answers := second.hungUp(); len(answers) != 0 {
			t.Errorf("answered: %v", answers)
		}
	}
}
