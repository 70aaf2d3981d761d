package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/netcheck"
	"github.com/tidegate/tidegate/uplink"
)

// inside runs a gateway in this process until the test ends.
func inside(t *testing.T, config string) *Daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw") // shorter than TempDir: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("test", fmt.Appendf(nil, "gateway.id = \"north-7\"\ngateway.data_dir = %q\ndashboard.listen = \"\"\nbuffer.profile = \"speed\"\n%s", filepath.Join(dir, "data"), config))
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(c, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	eventually(t, func() bool {
		_, err := askStatus(t.Context(), c.Gateway.SocketPath())
		return err == nil
	})
	return d
}

// asked is an answer in lines, over the admin socket.
func asked(t *testing.T, d *Daemon, path string, body any) (lines []netcheck.Line, verdict netcheck.Line) {
	t.Helper()
	if err := postAdmin(t.Context(), d.current().cfg.Gateway.SocketPath(), path, body, func(l netcheck.Line) { lines = append(lines, l) }); err != nil {
		t.Fatal(err)
	}
	if len(lines) == 0 {
		t.Fatal("no lines")
	}
	return lines, lines[len(lines)-1]
}

func expectVerdict(t *testing.T, v netcheck.Line, state netcheck.State, step string, says ...string) {
	t.Helper()
	if v.State != state || v.Step != step {
		t.Errorf("%s at %q, want %s at %q: %s", v.State, v.Step, state, step, v.Verdict)
	}
	for _, part := range says {
		if !strings.Contains(v.Verdict, part) {
			t.Errorf("%q is not in %q", part, v.Verdict)
		}
	}
}

// cloudSays is an other side that takes JSON, with an answer that can be changed.
type cloudSays struct {
	status, posts atomic.Int64
	retryAfter    atomic.Pointer[string]
	url           string
}

func newCloudSays(t *testing.T) *cloudSays {
	c := &cloudSays{}
	c.status.Store(200)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.posts.Add(1)
		if d := c.retryAfter.Load(); d != nil {
			w.Header().Set("Retry-After", *d)
		}
		w.WriteHeader(int(c.status.Load()))
	}))
	t.Cleanup(s.Close)
	c.url = s.URL + "/v1"
	return c
}

func (c *cloudSays) uplink(more string) string {
	return fmt.Sprintf("[[uplink.http]]\nname = \"cloud\"\nurl = %q\nencoding = \"json\"\nack = \"status\"\n%s\n", c.url, more)
}

const diagnoseCloud = "/api/v1/links/cloud/diagnose"

func TestAWayThatIsFreeIsProvenByAReading(t *testing.T) {
	cloud := newCloudSays(t)
	d := inside(t, cloud.uplink(""))
	_, v := asked(t, d, diagnoseCloud, nil)
	expectVerdict(t, v, netcheck.Warn, "", "nothing has come in", "look at the doors")
	lines, v := asked(t, d, diagnoseCloud, api.Diagnosis{Send: true})
	expectVerdict(t, v, netcheck.OK, "", "went through", "acknowledged by cloud")
	checkOrder(t, lines, "")
	if cloud.posts.Load() == 0 {
		t.Error("nothing was sent")
	}
	_, v = asked(t, d, diagnoseCloud, nil)
	expectVerdict(t, v, netcheck.OK, "", "Nothing is wrong with cloud", "is acknowledged, the last at")

	lines, v = asked(t, d, "/api/v1/links/cloud/test", nil)
	expectVerdict(t, v, netcheck.OK, "", "Test reading", "went through")
	for i, step := range []string{netcheck.Taken, netcheck.Flash, netcheck.Ack} {
		if lines[2*i].Step != step || lines[2*i].State != netcheck.Running || lines[2*i+1].State != netcheck.OK {
			t.Errorf("%+v, %+v", lines[2*i], lines[2*i+1])
		}
	}
}

func TestWhatTheOtherSideDoesNotTakeIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		status     int64
		retryAfter string
		step       string
		says       []string
	}{
		"TooMany":    {429, "3600", netcheck.Quota, []string{"asks to wait until", "429"}},
		"WrongToken": {401, "", netcheck.Login, []string{"401", "check the token"}},
		"TooLarge":   {413, "", netcheck.Size, []string{"refuses what is sent", "413"}},
		"Refused":    {400, "", netcheck.Size, []string{"refuses what is sent", "400"}},
		"OutOfOrder": {500, "", netcheck.Login, []string{"500"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := newCloudSays(t)
			cloud.status.Store(c.status)
			if c.retryAfter != "" {
				cloud.retryAfter.Store(&c.retryAfter)
			}
			d := inside(t, cloud.uplink(""))
			if err := d.send(t.Context(), api.Message{Device: "pump", Payload: `{"on":true}`}, func(api.SentLine) {}); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() bool { s := d.current().links[0].forwarder.Stats(); return s.Retries+s.Quarantined > 0 })
			_, v := asked(t, d, diagnoseCloud, nil)
			expectVerdict(t, v, netcheck.Bad, c.step, c.says...)
			_, v = asked(t, d, "/api/v1/links/cloud/diagnose", api.Diagnosis{Send: true})
			expectVerdict(t, v, netcheck.Bad, c.step, c.says...)
		})
	}
}

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	look, deadline := time.NewTicker(10*time.Millisecond), time.After(patience)
	defer look.Stop()
	for !condition() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatal("not in time")
		}
	}
}

func TestWhatHoldsReadingsBackIsNamed(t *testing.T) {
	cloud := newCloudSays(t)
	other := time.Now().Add(6 * time.Hour)
	overLink := func(keys string) string {
		return cloud.uplink("links = [\"lte\"]") + "[[link]]\nname = \"lte\"\n" + keys + "\n"
	}
	for name, c := range map[string]struct {
		link string
		says []string
	}{
		"Schedule": {fmt.Sprintf("schedule = [\"%d %d * * * for 1h\"]", other.Minute(), other.Hour()), []string{"link lte is held back", "closed by its schedule until"}},
		"Lanes":    {"lanes = [\"alarm\"]", []string{"not for normal readings"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := inside(t, overLink(c.link))
			_, v := asked(t, d, diagnoseCloud, nil)
			expectVerdict(t, v, netcheck.Bad, netcheck.Held, c.says...)
			lines, v := asked(t, d, diagnoseCloud, api.Diagnosis{Anyway: true})
			expectVerdict(t, v, netcheck.Warn, "", "The way is free, and only this is in the way", c.says[0])
			if lines[1].State != netcheck.Warn {
				t.Errorf("%+v", lines[1])
			}
			_, v = asked(t, d, "/api/v1/links/cloud/test", nil)
			expectVerdict(t, v, netcheck.Warn, "", "The test reading waits", "safe on flash")
		})
	}
	t.Run("Budget", func(t *testing.T) {
		d := inside(t, overLink("budget_day = \"20KiB\""))
		for range 50 {
			if _, v := asked(t, d, "/api/v1/links/cloud/test", nil); v.State != netcheck.OK {
				expectVerdict(t, v, netcheck.Warn, "", "budget is spent")
				break
			}
		}
		_, v := asked(t, d, diagnoseCloud, nil)
		expectVerdict(t, v, netcheck.Bad, netcheck.Held, "its budget is spent", "raise the budget")
	})
	t.Run("Company", func(t *testing.T) {
		d := inside(t, overLink("min_batch = \"64KiB\"\nmin_batch_age = \"1h\""))
		_, v := asked(t, d, "/api/v1/links/cloud/test", nil)
		expectVerdict(t, v, netcheck.Warn, "", "wait for company")
		_, v = asked(t, d, diagnoseCloud, nil)
		expectVerdict(t, v, netcheck.OK, "", "Nothing is wrong", "wait for company")
	})
}

func TestALinkThatIsDownAndComesBack(t *testing.T) {
	cloud := newCloudSays(t)
	cloud.status.Store(503)
	d := inside(t, cloud.uplink(""))
	if err := d.send(t.Context(), api.Message{Device: "pump", Payload: `{"on":true}`}, func(api.SentLine) {}); err != nil {
		t.Fatal(err)
	}
	_, v := asked(t, d, diagnoseCloud, nil)
	expectVerdict(t, v, netcheck.Bad, netcheck.Login, "503")
	cloud.status.Store(200)
	_, v = asked(t, d, diagnoseCloud, nil)
	expectVerdict(t, v, netcheck.OK, "", "Nothing is wrong with cloud")
}

func TestDiagnosesOfNothing(t *testing.T) {
	d := inside(t, newCloudSays(t).uplink(""))
	for _, path := range []string{"links/clowd/diagnose", "links/clowd/test", "doors/mqtts/diagnose"} {
		err := postAdmin(t.Context(), d.current().cfg.Gateway.SocketPath(), "/api/v1/"+path, nil, func(json.RawMessage) {})
		if err == nil || !strings.Contains(err.Error(), "hint") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// twofold is a door out that is sent on to another address.
type twofold struct {
	HTTPUplink
	addresses []string
	err       error
}

func (t twofold) sink(w way) (uplink.Sink, error) { return twofoldSink{t, w}, nil }

type twofoldSink struct {
	twofold
	way
}

func (s twofoldSink) Send(context.Context, uplink.Message) error { return nil }

func (s twofoldSink) Probe(ctx context.Context) (string, error) {
	var last error
	for _, a := range s.addresses {
		c, err := s.dial(ctx, "tcp", a)
		if last = err; err == nil {
			c.Close()
		}
	}
	if last == nil {
		return "two addresses", nil
	}
	return "", cmp.Or(s.err, last)
}

// Some servers name others: the first address answers, and the next does not. And of
// several that are configured, one is enough.
func TestAttemptsAtSeveralAddresses(t *testing.T) {
	open, nobody := mute(t), closed(t)
	for name, c := range map[string]struct {
		addresses []string
		err       error
		step      string
		says      string
	}{
		"SentOn":        {[]string{open, nobody}, fmt.Errorf("no broker"), netcheck.Login, "sends the gateway on to another address, which cannot be reached"},
		"SecondIsThere": {[]string{nobody, open}, nil, "", ""},
		"None":          {[]string{nobody, nobody}, nil, netcheck.Connect, "refuses the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			n := peekNetwork(Config{Uplink: Uplink{HTTP: []HTTPUplink{{Upstream: Upstream{Name: "cloud"}}}}}, slog.New(slog.DiscardHandler))
			report := netcheck.NewReport(netcheck.LinkQuestions(), func(netcheck.Line) {})
			door := twofold{addresses: c.addresses, err: c.err}
			a := newAttempt("north-7", upstream{"uplink.http[0]", "http", door}, n.path(nil, nil, slog.New(slog.DiscardHandler)), time.Time{}, report)
			_, err := a.run(t.Context())
			v := report.Conclude(netcheck.Fine("well"))
			if v.Step != c.step || !strings.Contains(v.Verdict, c.says) {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
}
