package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/dashboard"
)

// page watches the gateway as a browser does, by the rules of LIVE.md.
type page struct {
	*site
	conn    *websocket.Conn
	devices map[string]bool
	status  dashboard.Status
	seq     uint64
}

// openPage connects and reads the first frame, which must be a full one.
func (s *site) openPage() *page {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true}
	conn, _, err := websocket.Dial(ctx, "ws://"+s.dashboard+"/live", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	p := &page{site: s, conn: conn}
	if err := p.read(); err != nil {
		s.Fatal(err)
	}
	return p
}

// read enters the next frame.
func (p *page) read() error {
	p.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, message, err := p.conn.Read(ctx)
	if err != nil {
		return err
	}
	var frame struct {
		From, Seq uint64
		Devices   []struct{ Name string }
		Status    *dashboard.Status // about once a second
	}
	if err := json.Unmarshal(message, &frame); err != nil {
		p.Fatal(err)
	}
	switch frame.From {
	case 0:
		p.devices = map[string]bool{}
	case p.seq:
	default:
		p.Fatalf("a frame from %d after one to %d", frame.From, p.seq)
	}
	p.seq = frame.Seq
	if frame.Status != nil {
		p.status = *frame.Status
	}
	for _, d := range frame.Devices {
		p.devices[d.Name] = true
	}
	return nil
}

// sensors counts the devices that show, beside the gateway itself.
func (p *page) sensors() (n int) {
	for name := range p.devices {
		if strings.HasPrefix(name, "once-") || strings.HasPrefix(name, "twice-") {
			n++
		}
	}
	return n
}

// until reads frames until the page shows what is wanted.
func (p *page) until(what string, wanted func() bool) {
	p.Helper()
	p.eventually(what, func() bool {
		if wanted() {
			return true
		}
		if err := p.read(); err != nil {
			p.Fatalf("%s: %v", what, err)
		}
		return wanted()
	})
}

func TestPageStaysRightThroughARestart(t *testing.T) {
	s := newSite(t)
	gateway := s.startGateway()
	sensors := s.startSensors()
	sensors.eventuallyAcked(20)
	before := s.openPage()
	before.until("all devices and the waiting readings show", func() bool {
		return before.sensors() == 24 && before.status.Buffer.Waiting > 100
	})

	gateway.signal(syscall.SIGTERM)
	var err error
	for err == nil {
		err = before.read()
	}
	gateway.waitExit(patience)
	if websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the page was told %v, want that the gateway is going away", err)
	}

	s.startGateway()
	s.eventually("the page is served again", func() bool { return listens(s.dashboard) })
	after := s.openPage()
	if after.status.Started == before.status.Started {
		t.Error("the page cannot tell that the gateway has restarted")
	}
	if after.status.Buffer.Waiting < before.status.Buffer.Waiting {
		t.Errorf("%d readings wait after the restart, %d before", after.status.Buffer.Waiting, before.status.Buffer.Waiting)
	}
	after.until("all devices show again", func() bool { return after.sensors() == 24 })

	s.startCloud()
	sensors.stopAndAudit()
	after.until("nothing waits any more, and everybody says the same", func() bool {
		return after.status.Buffer.Waiting == 0 && s.saysTheSameEverywhere(after.status)
	})
}

// saysTheSameEverywhere compares what the page shows with what programs and the
// terminal are told, at a time when nothing happens: what the page was sent before is
// another matter.
func (s *site) saysTheSameEverywhere(page dashboard.Status) (same bool) {
	s.Helper()
	var api dashboard.Status
	s.get("http://"+s.dashboard+"/api/v1/status", func(r *http.Response) error {
		return json.NewDecoder(r.Body).Decode(&api)
	})
	terminal, ok := s.status()
	if !ok {
		s.Fatal("no status on the admin socket")
	}
	for _, other := range []dashboard.Status{api, terminal} {
		if other.Gateway != page.Gateway || other.Started != page.Started || other.Version != page.Version ||
			other.Buffer.Waiting != page.Buffer.Waiting || other.Links[0].Acked != page.Links[0].Acked ||
			other.Doors[0].Readings != page.Doors[0].Readings || !slices.Equal(other.Problems, page.Problems) {
			s.Logf("the page says %+v, others %+v", page, other)
			return false
		}
	}
	return true
}
