package daemon

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/internal/ontrial"
)

// edition is a configuration of the site that differs from others in what it has
// here.
type edition struct {
	clients int    // of the broker, which opens anew when that changes
	timeout string // of the uplink, which begins anew when that changes
	archive bool   // there is one more uplink
	http    bool   // there is one more door
}

func someEdition(random *rand.Rand) edition {
	return edition{
		clients: 100 + random.IntN(2), timeout: []string{"1s", "2s"}[random.IntN(2)],
		archive: random.IntN(2) == 0, http: random.IntN(2) == 0,
	}
}

// edit returns the site's configuration as the edition has it.
func (s *site) edit(e edition, doorHTTP string) string {
	s.Helper()
	s.more = ""
	if e.archive {
		s.more += fmt.Sprintf("[[uplink.file]]\nname = \"archive\"\ndir = %q\n", filepath.Join(s.dir, "archive"))
	}
	if e.http {
		s.more += fmt.Sprintf("[ingest.http]\nlisten = %q\n", doorHTTP)
	}
	s.configure("http://"+s.cloud+"/v1/ingest", e.timeout)
	return strings.Replace(s.fileText(), "[ingest.mqtt]\n", fmt.Sprintf("[ingest.mqtt]\nmax_clients = %d\n", e.clients), 1)
}

// write makes a text the site's configuration.
func (s *site) write(text string) {
	s.Helper()
	if err := os.WriteFile(s.configFile(), []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
}

// config asks the gateway about its configuration.
func (s *site) config(what string, body any) (state api.ConfigState, err error) {
	method := http.MethodPost
	if what == "" {
		method = http.MethodGet
	}
	err = askAdmin(context.Background(), filepath.Join(s.data, "admin.sock"), method, "/api/v1/config"+what, body, &state)
	return state, err
}

// apply puts a text on trial.
func (s *site) apply(text string) (api.ConfigState, error) {
	state, err := s.config("", nil)
	if err != nil {
		return state, err
	}
	return s.config("/apply", map[string]string{"text": text, "revision": state.Revision})
}

// must makes an order that has to work.
func (s *site) must(state api.ConfigState, err error) api.ConfigState {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
	return state
}

// fileText is the site's configuration as it is in the file.
func (s *site) fileText() string {
	s.Helper()
	text, err := os.ReadFile(s.configFile())
	if err != nil {
		s.Fatal(err)
	}
	return string(text)
}

// count is how often the processes have said something.
func (s *site) count(what string) int { return strings.Count(s.said(), what) }

// becomes brings the gateway to an edition: by a signal, by a trial that is kept, or
// by one that is not.
func (s *site) becomes(random *rand.Rand, gateway *program, text string) {
	s.Helper()
	kept := s.fileText()
	text += fmt.Sprintf("# %x\n", random.Uint64()) // so that the log does not take it for what it has said just now
	switch random.IntN(3) {
	case 0:
		before := s.count("configuration read again")
		s.write(text)
		gateway.signal(syscall.SIGHUP)
		s.eventually("it is read", func() bool { return s.count("configuration read again") > before })
	case 1:
		state := s.must(s.apply(text))
		s.must(s.config("/confirm", map[string]string{"revision": state.Revision}))
		if now := s.fileText(); now != text {
			s.Fatalf("it was kept, and the file holds %q", now)
		}
	default:
		s.must(s.apply(text))
		pass(time.Duration(random.IntN(100)) * time.Millisecond)
		s.must(s.config("/revert", struct{}{}))
		if now := s.fileText(); now != kept {
			s.Fatalf("it was undone, and the file holds %q", now)
		}
	}
}

// Sensors publish all the time while doors and uplinks come, go and begin anew: what
// was acknowledged arrives, once.
func TestReloadsLoseNothing(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	s, random := newSite(t), seeded(t)
	doorHTTP := porttest.For(t)
	base := s.edit(edition{clients: 100, timeout: "1s"}, doorHTTP)
	s.write(base)
	s.startCloud()
	gateway := s.startGateway()
	sensors := s.startSensors()
	sensors.eventuallyAcked(1)
	for range rounds {
		text := s.edit(someEdition(random), doorHTTP)
		s.write(s.must(s.config("", nil)).Text) // which edit has overwritten
		s.becomes(random, gateway, text)
		sensors.eventuallyAcked(1)
	}
	s.write(base)
	s.must(s.config("/reload", struct{}{}))
	sensors.stopAndAudit()
	s.logDuplicates()
	t.Logf("the broker has opened anew %d times, %d changes", s.count("the door mqtt opens anew"), s.count("changes="))
	gateway.stop()
}

// What the change of an uplink means to sensors: nothing.
func TestClientsStayConnectedWhileUplinksChange(t *testing.T) {
	s := newSite(t)
	one := s.edit(edition{clients: 100, timeout: "1s"}, "")
	two := s.edit(edition{clients: 100, timeout: "2s", archive: true}, "")
	s.write(one)
	s.startCloud()
	gateway := s.startGateway()
	sensors := s.startSensors()
	sensors.eventuallyAcked(1)
	var began int64
	s.eventuallyStatus("all are connected", func(st dashboard.Status) bool {
		began = st.Doors[0].Since
		return st.Doors[0].Clients == 24
	})
	for range 10 {
		s.write(two)
		s.must(s.config("/reload", struct{}{}))
		s.write(one)
		s.must(s.config("/reload", struct{}{}))
		if st, _ := s.status(); st.Doors[0].Clients != 24 || st.Doors[0].Since != began || began == 0 {
			t.Errorf("%d clients are connected with a broker that runs since %d, and it began %d", st.Doors[0].Clients, st.Doors[0].Since, began)
		}
	}
	sensors.stopAndAudit()
	gateway.stop()
}

// A gateway is killed in a trial, while a trial begins, and while it is kept. The file
// is whole at any time, what was said to be kept is in it, and so a start runs it.
func TestKillNineInATrial(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 6
	}
	s, random := newSite(t), seeded(t)
	doorHTTP := porttest.For(t)
	kept := s.edit(edition{clients: 100, timeout: "1s"}, doorHTTP)
	s.write(kept)
	s.startCloud()
	gateway := s.startGateway()
	sensors := s.startSensors()
	undone, confirmed := 0, 0
	for range rounds {
		sensors.eventuallyAcked(1)
		e := someEdition(random)
		e.clients = 101 + random.IntN(1000) // so that it is another one
		text := s.edit(e, doorHTTP)
		s.write(kept)

		answered, keep := make(chan bool, 1), random.IntN(3) > 0
		go func() {
			state, err := s.apply(text)
			if err == nil && keep {
				_, err = s.config("/confirm", map[string]string{"revision": state.Revision})
				answered <- err == nil
				return
			}
			answered <- false
		}()
		pass(time.Duration(random.IntN(90)) * time.Millisecond)
		gateway.kill()
		said := <-answered

		switch now := s.fileText(); {
		case now == text:
			kept = text
			confirmed++
		case now != kept:
			t.Fatalf("the file is neither what it was nor what it was to be: %q", now)
		case said:
			t.Fatal("it was said to be kept, and is not")
		default:
			undone++
		}
		gateway = s.startGateway()
		s.eventuallyStatus("it runs what is kept", func(st dashboard.Status) bool {
			state, err := s.config("", nil)
			return err == nil && state.Text == kept && state.Trial == nil
		})
	}
	t.Logf("%d kept, %d undone", confirmed, undone)
	s.write(s.edit(edition{clients: 100, timeout: "1s"}, doorHTTP))
	s.must(s.config("/reload", struct{}{}))
	sensors.stopAndAudit()
	s.logDuplicates()
	gateway.stop()
}

// A change that could not be kept is not even tried; one that could be when it was
// tried is kept on a disk that has become full.
func TestAFullDiskAndATrial(t *testing.T) {
	s := newSite(t)
	s.mountSmallDisk()
	journal := s.data
	file := filepath.Join(filepath.Dir(s.data), "tidegate.toml")
	s.data = filepath.Join(s.dir, "data")
	text := s.edit(edition{clients: 100, timeout: "1s"}, "")
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	gateway := s.start("tidegate", "run", "-config", file)
	s.eventually("it runs", func() bool { _, ok := s.status(); return ok })
	next := strings.Replace(text, "= 100", "= 101", 1)
	state := s.must(s.apply(next))
	ballast := s.fill()
	s.must(s.config("/confirm", map[string]string{"revision": state.Revision}))
	if now, err := os.ReadFile(file); err != nil || string(now) != next {
		t.Errorf("the file holds %q: %v", now, err)
	}
	large := next + strings.Repeat("# and so on\n", 1000)
	if _, err := s.apply(large); err == nil || !strings.Contains(err.Error(), "make room on the disk") {
		t.Errorf("on a full disk: %v", err)
	}
	if state := s.must(s.config("", nil)); state.Text != next || state.Trial != nil || state.Tried != "" {
		t.Errorf("then: %+v", state)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.must(s.apply(large))
	gateway.stop()
	if now, err := os.ReadFile(file + ontrial.Trial); err != nil || string(now) != large {
		t.Errorf("what was tried is lost: %v", err)
	}
	s.data = journal
}
