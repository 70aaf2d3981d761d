package daemon

import (
	"net/http"
	"testing"
)

// A whole gateway whose cloud goes and comes, on the screen: why nothing arrives, and
// messages and commands by hand.
func TestDiagnosisInABrowser(t *testing.T) {
	s := newSite(t)
	s.more = "[command]\nallow = [\"dev/+/set\"]\ndevice_topic = \"dev/{device}/set\"\n"
	s.configure("http://"+s.cloud+"/v1/ingest", "30s") // a cloud that takes its time is not wrong
	cloud := s.startCloud()
	s.startGateway()
	s.eventually("the page is served", func() bool { return listens(s.dashboard) && listens(s.mqtt) })
	mux := http.NewServeMux()
	scene := func(name string, play func()) {
		mux.HandleFunc("POST /"+name, func(http.ResponseWriter, *http.Request) { play() })
	}
	scene("down", func() { cloud.kill() })
	scene("up", func() { cloud = s.startCloud() })
	scene("publish", func() { s.publish("pump-", 3, nil) })
	scene("listen", func() { client(t, s.mqtt, "pump", "dev/pump/set") })
	s.inBrowser("diagnose.mjs", mux)
}
