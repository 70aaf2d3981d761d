package daemon

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// quarantine runs "tidegate quarantine" and returns what it prints.
func (s *site) quarantine(code int, args ...string) string {
	s.Helper()
	var out, errs bytes.Buffer
	all := append([]string{"quarantine"}, append(args, "-config", s.configFile())...)
	if got := Main(all, &out, &errs); got != code {
		s.Fatalf("tidegate %s: exit code %d, want %d\n%s%s", strings.Join(all, " "), got, code, out.String(), errs.String())
	}
	return out.String() + errs.String()
}

// What the cloud refused can be looked at, sent again when the cloud has been
// mended, and forgotten; whether the gateway runs or not.
func TestWhatWasRefusedIsSentAgainOrForgotten(t *testing.T) {
	s := newSite(t)
	p := s.startPeer()
	refuses := func(w http.ResponseWriter, r *http.Request, cloud http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil || holdsDevice(t, body, "poison-") {
			http.Error(w, "field type conflict", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		cloud.ServeHTTP(w, r)
	}
	p.change(refuses)
	gateway := s.startGateway()
	s.publish("poison-", 2, nil)
	s.eventuallyDelivered()

	var listed []setAside
	if err := json.Unmarshal([]byte(s.quarantine(exitOK, "ls", "-json")), &listed); err != nil || len(listed) != 2 {
		t.Fatalf("%d blocks are set aside, %v", len(listed), err)
	}
	if text := s.quarantine(exitOK, "ls"); strings.Count(text, "field type conflict") != 2 || !strings.Contains(text, listed[0].ID) {
		t.Errorf("ls:\n%s", text)
	}
	if text := s.quarantine(exitOK, "show", listed[0].ID); !strings.Contains(text, "poison-") || !strings.Contains(text, "field type conflict") {
		t.Errorf("show:\n%s", text)
	}
	s.quarantine(exitUsage, "show", "cloud/normal/12345")
	s.quarantine(exitUsage, "drop", "all")
	if text := s.quarantine(exitUsage, "retry"); !strings.Contains(text, "which blocks?") {
		t.Errorf("retry of nothing:\n%s", text)
	}

	s.quarantine(exitOK, "retry", listed[0].ID) // is refused again, and stays
	s.eventually("the wish is done", func() bool { return !strings.Contains(s.quarantine(exitOK, "ls"), "is to be sent again") })
	p.change(nil)
	s.quarantine(exitOK, "retry", listed[0].ID)
	s.eventually("the block has left", func() bool { return !strings.Contains(s.quarantine(exitOK, "ls"), listed[0].ID) })
	s.eventuallyDelivered()
	if rows := s.export("?device=poison-0001"); len(rows) == 0 {
		if rows = s.export("?device=poison-0000"); len(rows) == 0 {
			t.Error("the cloud has nothing of what was sent again")
		}
	}

	gateway.stop()
	s.quarantine(exitOK, "retry", listed[1].ID) // nobody has the buffer open: for the next start
	s.quarantine(exitOK, "drop", listed[1].ID, "-yes")
	if text := s.quarantine(exitOK, "ls"); text != "nothing is set aside\n" {
		t.Errorf("ls at the end:\n%s", text)
	}
}
