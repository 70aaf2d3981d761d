package daemon

import (
	"net/http"
	"testing"
)

// Every view and sheet of the page can be used with a screen reader, a keyboard and
// weak eyes, as far as rules can tell.
func TestEverythingOnThePageIsAccessible(t *testing.T) {
	s := newSite(t)
	s.startPeer()
	s.startGateway()
	s.eventually("the page is served", func() bool { return listens(s.dashboard) })
	mux := http.NewServeMux()
	mux.HandleFunc("POST /publish", func(http.ResponseWriter, *http.Request) { s.publish("boiler-", 3, nil) })
	s.inBrowser("axe.mjs", mux)
}
