package daemon

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
)

// What was acknowledged before a kill is in the history after it, on the page's
// listener and on the admin socket.
func TestHistoryOutlivesAKill(t *testing.T) {
	s := newSite(t)
	gateway := s.startGateway()
	s.eventually("the gateway listens", func() bool { return listens(s.mqtt) })
	c := s.dial("boiler")
	for i := range 3 {
		c.send(publication(uint16(i+1), "json/boiler", fmt.Appendf(nil, `{"temp": %d.5}`, 20+i)))
		if !c.answers(0x40, 2, 0, byte(i+1)) {
			t.Fatal("no receipt")
		}
	}
	gateway.signal(syscall.SIGKILL)
	gateway.waitExit(patience)
	s.startGateway()
	s.eventually("the page is served again", func() bool { return listens(s.dashboard) })

	const path = "/api/v1/history%s?device=json/boiler&metric=temp"
	var page, admin struct {
		Points []struct{ V float64 }
	}
	s.get("http://"+s.dashboard+fmt.Sprintf(path, ""), func(r *http.Response) error { return json.NewDecoder(r.Body).Decode(&page) })
	if err := askAdmin(t.Context(), filepath.Join(s.data, "admin.sock"), http.MethodGet, fmt.Sprintf(path, ""), nil, &admin); err != nil {
		t.Fatal(err)
	}
	if len(page.Points) != 3 || page.Points[2].V != 22.5 || len(admin.Points) != 3 {
		t.Errorf("the page has %+v, the admin socket %+v", page, admin)
	}
	s.get("http://"+s.dashboard+fmt.Sprintf(path, ".csv"), func(r *http.Response) error {
		rows, err := csv.NewReader(r.Body).ReadAll()
		if err == nil && (len(rows) != 4 || rows[3][4] != "22.5") {
			err = fmt.Errorf("rows %q", rows)
		}
		return err
	})
}
