package httpin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

func newTable(t testing.TB, rules ...route.Rule) *route.Table {
	t.Helper()
	table, err := route.NewTable(rules, decode.NewJSON(decode.JSONConfig{}))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// config is a door with a route that keeps what it cannot decode and one, below
// strict/, that does not.
func config(t testing.TB) Config {
	return Config{Listen: "127.0.0.1:0", Patience: 200 * time.Millisecond, Routes: newTable(t,
		route.Rule{Topic: "strict/{device}", Decoder: decode.NewJSON(decode.JSONConfig{})},
		route.Rule{Topic: "alarms/{device}", Lane: reading.Alarm, Decoder: decode.NewJSON(decode.JSONConfig{}), KeepOpaque: true},
	)}
}

func TestDoor(t *testing.T) {
	ingesttest.Run(t, ingesttest.Door{
		New: func(t *testing.T) ingest.Source { return New(config(t), discard()) },
		Speak: func(t *testing.T, source ingest.Source) ingesttest.Peer {
			return newPeer(t, source.(*Source).Addr(t.Context()).String())
		},
	})
}

// peer sends each message on a connection of its own, as many devices do.
type peer struct {
	t       *testing.T
	address string
	client  *http.Client
	answers map[int]chan int // statuses, 0 for none
	next    int
}

func newPeer(t *testing.T, address string) *peer {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &peer{t: t, address: address, client: &http.Client{Transport: transport}, answers: map[int]chan int{}}
}

func (p *peer) Send(n int) {
	answer := make(chan int, 1)
	p.answers[n] = answer
	go func() {
		url := fmt.Sprintf("http://%s/v1/readings/d/%d", p.address, n)
		r, err := p.client.Post(url, "application/json", bytes.NewReader([]byte(`{"a":21.5}`)))
		if err != nil {
			answer <- 0
			return
		}
		r.Body.Close()
		answer <- r.StatusCode
	}()
}

func (p *peer) Acked(ctx context.Context) (int, error) {
	n := p.next
	select {
	case status := <-p.answers[n]:
		if p.next++; status != http.StatusCreated {
			return 0, fmt.Errorf("status %d", status)
		}
		return n, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (p *peer) Garbage(b []byte) {
	conn, err := net.Dial("tcp", p.address)
	if err != nil {
		p.t.Error(err)
		return
	}
	p.t.Cleanup(func() { conn.Close() })
	conn.Write(b)
}

// world is a running door.
type world struct {
	*Source
	custody *ingesttest.Custody
	url     string
}

func start(t testing.TB, cfg Config) *world {
	t.Helper()
	custody := ingesttest.NewCustody()
	custody.CommitAtOnce()
	w := startOn(t, cfg, custody)
	w.custody = custody
	return w
}

// startOn runs a door over a custody.
func startOn(t testing.TB, cfg Config, custody ingest.Custody) *world {
	t.Helper()
	return startFor(t, cfg, ingest.NewIntake(custody, nil, time.Now))
}

// startFor runs a door over an intake.
func startFor(t testing.TB, cfg Config, intake *ingest.Intake) *world {
	t.Helper()
	w := &world{Source: New(cfg, discard())}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	if cfg.Routes != nil {
		for _, forget := range cfg.Routes.Filters() {
			intake.OnLoss(forget)
		}
	}
	go func() { ended <- w.Run(ctx, intake) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	w.url = "http://" + w.Addr(t.Context()).String()
	return w
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
