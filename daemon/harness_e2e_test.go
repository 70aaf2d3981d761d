package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/dashboard"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/internal/base/porttest"
)

// patience is how long anything may take that should happen at all.
const patience = time.Minute

// site is one gateway and what is around it: a folder that outlives its
// processes, and addresses that are the same in every life.
type site struct {
	*testing.T
	dir       string
	data      string // the gateway's data_dir
	maxBytes  string // its buffer.max_bytes
	more      string // what else its configuration has
	door      string // what else its [ingest.mqtt] has
	mqtt      string // address of the broker
	dashboard string // address of the page
	cloud     string // address of the cloud
	log       *os.File
	beforeEnd func() error // lets go of the folder
}

// newSite prepares a site without any process. Goroutines that the test leaves
// behind, and data races and panics of its processes, fail the test.
func newSite(t *testing.T) *site {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.None(t, before) })
	dir, err := os.MkdirTemp("", "site") // shorter than TempDir: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, dir: dir, data: filepath.Join(dir, "data"), maxBytes: "512MiB", mqtt: porttest.For(t), dashboard: porttest.For(t), cloud: porttest.For(t), log: log,
		beforeEnd: func() error { return nil }}
	t.Cleanup(s.end)
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	return s
}

// end looks at what the processes said, and removes the folder.
func (s *site) end() {
	said, err := os.ReadFile(s.log.Name())
	if err = errors.Join(err, s.log.Close(), s.beforeEnd()); err != nil {
		s.Error(err)
	}
	for _, never := range []string{"DATA RACE", "panic: ", "fatal error: ", "ended by a panic"} {
		if at := bytes.Index(said, []byte(never)); at >= 0 {
			s.Errorf("a process said %q:\n%s", never, said[at:min(at+6000, len(said))])
		}
	}
	if s.Failed() {
		s.Logf("last words of the processes:\n%s", said[max(0, len(said)-4000):])
		s.Logf("all of the site is kept: %s", s.dir)
		return
	}
	if err := os.RemoveAll(s.dir); err != nil {
		s.Error(err)
	}
}

// configure writes the gateway's configuration. timeout is that of a request.
func (s *site) configure(cloudURL, timeout string) {
	s.Helper()
	text := fmt.Sprintf(`
[gateway]
id = "north-7"
data_dir = %q
[buffer]
profile = "speed"
max_bytes = %q
[ingest.mqtt]
listen = %q
%s
[[ingest.mqtt.route]]
topic = "site/{site}/dev/{device}/telemetry"
[[ingest.mqtt.route]]
topic = "raw/{device}"
decode = "raw"
[dashboard]
listen = %q
[[uplink.http]]
name = "cloud"
url = %q
timeout = %q
%s`, s.data, s.maxBytes, s.mqtt, s.door, s.dashboard, cloudURL, timeout, s.more)
	if err := os.WriteFile(s.configFile(), []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *site) configFile() string { return filepath.Join(s.dir, "tidegate.toml") }

// eventually waits until the condition holds.
func (s *site) eventually(what string, condition func() bool) {
	s.Helper()
	deadline := time.After(patience)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !condition() {
		select {
		case <-look.C:
		case <-deadline:
			s.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// pass lets time pass where the instant of an accident is the point of a test.
func pass(d time.Duration) { <-time.After(d) }

// status asks the gateway as "tidegate status" does. It reports false while the
// gateway does not answer.
func (s *site) status() (dashboard.Status, bool) {
	st, err := askStatus(context.Background(), filepath.Join(s.data, "admin.sock"))
	return st, err == nil
}

// eventuallyStatus waits until the gateway's status is as wanted.
func (s *site) eventuallyStatus(what string, wanted func(dashboard.Status) bool) {
	s.Helper()
	var last dashboard.Status
	defer func() {
		if s.Failed() {
			s.Logf("last status: %+v", last)
		}
	}()
	s.eventually(what, func() bool {
		st, ok := s.status()
		if ok {
			last = st
		}
		return ok && wanted(st)
	})
}

// eventuallyDelivered waits until nothing on the gateway is waiting any more.
func (s *site) eventuallyDelivered() {
	s.Helper()
	s.eventuallyStatus("everything is delivered", func(st dashboard.Status) bool {
		waits := func(l dashboard.Link) bool { return l.Waiting > 0 || l.InFlight > 0 }
		return len(st.Links) > 0 && !slices.ContainsFunc(st.Links, waits)
	})
}

// linkIs is a condition on the status.
func linkIs(state dashboard.LinkState) func(dashboard.Status) bool {
	return func(st dashboard.Status) bool { return len(st.Links) == 1 && st.Links[0].State == state }
}

// get asks an address of the site and hands the answer to read.
func (s *site) get(url string, read func(*http.Response) error) {
	s.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		s.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		s.Fatal(err)
	}
	if err := errors.Join(read(resp), resp.Body.Close()); err != nil {
		s.Fatalf("%s: %v", url, err)
	}
}

// seeded returns a random source whose seed is in the test's log. The variable
// SEED repeats a run, as far as processes can be made to.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(seedOf(t), 0))
}

func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	return seed
}

// raceDetected says that memory and speed are those of the race detector.
func raceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, setting := range info.Settings {
		if setting.Key == "-race" {
			return setting.Value == "true"
		}
	}
	return false
}

// said returns what the processes of the site have said.
func (s *site) said() string {
	s.Helper()
	text, err := os.ReadFile(s.log.Name())
	if err != nil {
		s.Fatal(err)
	}
	return string(text)
}

// insertLink puts a line between gateway and cloud. timeout is as in configure.
func (s *site) insertLink(timeout string) *firmwaresim.Link {
	s.Helper()
	link, err := firmwaresim.OpenLink("127.0.0.1:0", s.cloud)
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- link.Run(ctx) }()
	s.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("link: %v", err)
		}
	})
	s.configure("http://"+link.Addr()+"/v1/ingest", timeout)
	return link
}
