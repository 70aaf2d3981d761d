package daemon

import (
	"bytes"
	"testing"
	"time"
)

// wait asks every few milliseconds until done says so.
func (r *gatewayHere) wait(what string, done func() bool) {
	r.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !done(); <-tick.C {
		if time.Since(began) > patience {
			r.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func (r *gatewayHere) shows(device string) bool {
	r.Helper()
	frame, err := r.hub.Values(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	return bytes.Contains(frame, []byte(`{"name":"`+device+`"`)) && bytes.Contains(frame, []byte(`"disk.free_bytes","unit":"B"`))
}

func TestWhatTheGatewayTellsOfItselfIsShownOnly(t *testing.T) {
	r := runGateway(t, "")
	r.wait("the gateway is shown", func() bool { return r.shows("gateway") })
	s := r.status()
	if s.Itself == nil || s.Itself.Device != "gateway" || s.Itself.Kept {
		t.Errorf("itself: %+v", s.Itself)
	}
	if s.Buffer.Waiting != 0 || len(s.Doors) != 1 || s.Doors[0].Name != "mqtt" {
		t.Errorf("%d readings wait, doors: %+v", s.Buffer.Waiting, s.Doors)
	}
	if frame, err := r.hub.Values(t.Context()); err != nil || !bytes.Contains(frame, []byte(`"readings":0,"skipped":0,"hidden":0,`)) {
		t.Errorf("counted: %s, %v", frame, err)
	}
}

func TestWhatTheGatewayTellsOfItselfIsKeptIfThatIsWanted(t *testing.T) {
	r := runGateway(t, "[ingest.host]\nkeep = true\nevery = \"1s\"\ndevice = \"north-7.box\"\n")
	r.wait("the gateway is shown", func() bool { return r.shows("north-7.box") })
	r.wait("it is kept and counted", func() bool {
		s := r.status()
		return s.Buffer.Waiting > 0 && len(s.Doors) == 2 && s.Doors[1].Readings > 0
	})
	s := r.status()
	if s.Itself == nil || !s.Itself.Kept || len(s.Doors) != 2 || s.Doors[1].Kind != "host" || s.Doors[1].Readings == 0 {
		t.Errorf("itself: %+v, doors: %+v", s.Itself, s.Doors)
	}
	if _, err := r.change("[ingest.host]\nevery = \"0s\"\n"); err != nil {
		t.Fatal(err)
	}
	if s := r.status(); s.Itself != nil || len(s.Doors) != 1 {
		t.Errorf("switched off: %+v, doors: %+v", s.Itself, s.Doors)
	}
}
