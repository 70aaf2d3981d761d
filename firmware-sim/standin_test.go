package firmwaresim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/pelletier/go-toml/v2"

	"github.com/tidegate/tidegate/internal/base/leaktest"
)

// TestMain lets the test binary stand in for the two programs that the demo
// starts, when it is called by their names.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "tidegate-cloud":
		standInCloud(os.Args[1:])
	case "tidegate":
		standInGateway(os.Args[1:])
	default:
		leaktest.Main(m)
	}
}

// standInCloud keeps the rows that it is sent, each once, and exports them.
func standInCloud(args []string) {
	var mu sync.Mutex
	rows := make(map[string]bool)
	http.HandleFunc("POST /v1/ingest", func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		mu.Lock()
		defer mu.Unlock()
		for row := range strings.Lines(string(body)) {
			rows[row] = true
		}
	})
	http.HandleFunc("GET /v1/export", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		for row := range rows {
			io.WriteString(w, row)
		}
	})
	exit(http.ListenAndServe(args[2], nil)) // run -listen ADDR -data DIR
}

func exit(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// gatewayStandIn acknowledges what it keeps in memory and sends it on when it
// can. The environment may tell it to betray.
type gatewayStandIn struct {
	mqtt.HookBase
	url string

	mu       sync.Mutex
	seq      int
	waiting  [][]byte
	acked    int
	messages int
}

func standInGateway(args []string) {
	var config struct {
		Ingest    struct{ Mqtt struct{ Listen string } }
		Uplink    struct{ Http []struct{ Url string } }
		Dashboard struct{ Listen string }
	}
	text, err := os.ReadFile(args[2]) // run -config FILE
	if err == nil {
		err = toml.Unmarshal(text, &config)
	}
	if err != nil {
		exit(err)
	}
	if os.Getenv("STANDIN") == "dies" {
		exit(fmt.Errorf("no room on flash"))
	}
	g := &gatewayStandIn{url: config.Uplink.Http[0].Url}
	broker := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	listener, err := net.Listen("tcp", config.Ingest.Mqtt.Listen)
	if err != nil {
		exit(err)
	}
	broker.AddHook(g, nil)
	broker.AddListener(listeners.NewNet("test", listener))
	broker.Serve()
	go g.forward()
	http.HandleFunc("GET /api/v1/status", g.status)
	exit(http.ListenAndServe(config.Dashboard.Listen, nil))
}

func (g *gatewayStandIn) ID() string { return "stand-in" }

func (g *gatewayStandIn) Provides(b byte) bool {
	return b == mqtt.OnPublish || b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck
}

func (g *gatewayStandIn) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (g *gatewayStandIn) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

func (g *gatewayStandIn) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	var fields map[string]any
	if err := json.Unmarshal(pk.Payload, &fields); err != nil {
		return pk, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.messages++
	if os.Getenv("STANDIN") == "loses" && g.messages == 50 {
		return pk, nil
	}
	for metric, value := range fields {
		g.seq++
		g.waiting = append(g.waiting, fmt.Appendf(nil,
			`{"gateway":"demo","epoch":"1","lane":"normal","seq":%d,"device":%q,"metric":%q,"value":%v}`+"\n",
			g.seq, strings.Split(pk.TopicName, "/")[3], metric, value))
	}
	return pk, nil
}

func (g *gatewayStandIn) forward() {
	for range time.Tick(20 * time.Millisecond) {
		g.mu.Lock()
		batch := g.waiting
		g.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
		response, err := http.Post(g.url, "application/x-ndjson", bytes.NewReader(bytes.Join(batch, nil)))
		if err != nil {
			continue
		}
		response.Body.Close()
		g.mu.Lock()
		g.waiting = g.waiting[len(batch):]
		g.acked += len(batch)
		g.mu.Unlock()
	}
}

func (g *gatewayStandIn) status(w http.ResponseWriter, _ *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fmt.Fprintf(w, `{"buffer":{"waiting":%d},"links":[{"name":"cloud","acked":%d}]}`, len(g.waiting), g.acked)
}
