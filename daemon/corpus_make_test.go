package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
	"github.com/tidegate/tidegate/internal/corpustest"
	"github.com/tidegate/tidegate/wire"
)

// TestMakeCorpus makes an entry of internal/corpustest: see testdata/README.md there.
// It is what "make corpus" runs, and nothing without these variables:
//
//	CORPUS           the name of the entry
//	CORPUS_GATEWAY   the program of the gateway, if not the one of this test
//	CORPUS_CLOUD     that of the cloud, if not the one in cmd
//	CORPUS_COMMIT    the commit that they were built of
//	CORPUS_FEATURES  what the program has: sessions, commands, operator. All, if not said
//	CORPUS_END       stop or kill
func TestMakeCorpus(t *testing.T) {
	name := os.Getenv("CORPUS")
	if name == "" {
		t.Skip("CORPUS names no entry: it is made by \"make corpus\"")
	}
	m := &corpusMaker{site: newSite(t), gateway: os.Getenv("CORPUS_GATEWAY"), shore: os.Getenv("CORPUS_CLOUD"), features: os.Getenv("CORPUS_FEATURES")}
	if m.gateway == "" {
		m.gateway, m.features = "tidegate", "sessions commands operator"
	}
	if m.shore == "" {
		m.shore = m.cloudProgram()
	}
	m.want.Commit = os.Getenv("CORPUS_COMMIT")
	m.want.Program = strings.TrimSpace(m.do(exitOK, m.gateway, "version"))
	m.make(os.Getenv("CORPUS_END") == "stop")
	if err := corpustest.Pack(filepath.Join("..", "internal", "corpustest", "testdata", name+".zip"), m.dir, m.want); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", m.want)
}

// corpusMaker lets a program leave a folder behind.
type corpusMaker struct {
	*site
	gateway, shore string // programs
	features       string
	running        *program
	want           corpustest.Expectation
}

func (m *corpusMaker) has(feature string) bool { return strings.Contains(m.features, feature) }

// corpusConfig is what all entries have. The uplink picky finds nobody any more.
const corpusConfig = `
[[uplink.http]]
name = "picky"
url = "http://{picky}/v1/ingest"
timeout = "1s"
[[ingest.mqtt.route]]
topic = "alarms/{device}"
lane = "alarm"
`

// make is the story of an entry: what comes when, what was delivered, and how it ends.
func (m *corpusMaker) make(clean bool) {
	picky := m.startPicky()
	m.want.More = corpusConfig
	if m.has("sessions") {
		m.want.Door = `session_expiry = "3650d"` // the entry will be old; more is not allowed
	}
	if m.has("commands") {
		m.want.Link, m.want.Command = "lte", "c-1"
		m.want.More = `links = ["lte"]` + corpusConfig + "[[link]]\nname = \"lte\"\nbudget_month = \"1GB\"\n" +
			"[command]\nallow = [\"cmd/+\"]\n[[command.http]]\nname = \"orders\"\nurl = \"http://{cloud}/v1/commands\"\npoll = \"0s\"\n"
	}
	m.settle(m.want, picky.address)
	shore := m.start(m.shore, "run", "-listen", m.cloud, "-data", filepath.Join(m.dir, "cloud"))
	m.begin()
	m.publishUpTo(6)
	m.want.Refused = picky.end()
	m.publishUpTo(40)
	m.sessions()
	m.operator()
	pass(3 * time.Second) // all is delivered, and the cursors are saved
	m.running.stop()
	m.begin()
	m.publishUpTo(60)
	m.want.Delivered = m.want.Acked
	pass(3 * time.Second)
	shore.kill()
	m.publishUpTo(90)
	m.running.kill()
	m.begin()
	m.publishUpTo(120)
	m.retained()
	if m.want.Clean = clean; clean {
		m.running.stop()
	} else {
		m.running.kill()
	}
}

// settle writes the configuration of an entry.
func (s *site) settle(e corpustest.Expectation, picky string) {
	s.Helper()
	s.door = e.Door
	s.more = strings.NewReplacer("{picky}", picky, "{cloud}", s.cloud).Replace(e.More)
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
}

func (m *corpusMaker) begin() {
	m.Helper()
	m.running = m.start(m.gateway, "run", "-config", m.configFile())
	m.eventually("the broker listens", func() bool { return listens(m.mqtt) })
}

// publishUpTo publishes the numbers up to n, one by one, so that each has a commit of
// its own: three devices take turns, and each tenth is an alarm.
func (m *corpusMaker) publishUpTo(n int) {
	m.Helper()
	client := firmwaresim.NewClient(firmwaresim.ClientConfig{Addr: m.mqtt, ClientID: "sensors", CleanSession: true, Window: 1})
	ctx, cancel := context.WithTimeout(m.Context(), patience)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { _ = client.Run(ctx) }) // the publishes say whether it works
	for m.want.Acked < n {
		m.want.Acked++
		topic := fmt.Sprintf("site/north/dev/pump-%d/telemetry", m.want.Acked%3)
		if m.want.Acked%10 == 0 {
			topic = "alarms/boiler"
		}
		payload := fmt.Sprintf(`{"n":%d,"temp":%d.5}`, m.want.Acked, 20+m.want.Acked%7)
		err := client.Publish(ctx, firmwaresim.Message{Topic: topic, Payload: []byte(payload), QoS: 1})
		if err := errors.Join(err, client.Drain(ctx)); err != nil {
			m.Fatal(err)
		}
	}
	cancel()
	running.Wait()
}

// sessions lets a display go away with messages waiting for it, one of them a command.
func (m *corpusMaker) sessions() {
	if !m.has("sessions") {
		return
	}
	m.mosquitto("mosquitto_sub", "mqttv311", "-c", "-i", "display", "-q", "2", "-t", "cmd/#", "-E")
	for i := range 4 {
		text := fmt.Sprint("message ", i)
		m.want.Messages = append(m.want.Messages, text)
		m.mosquitto("mosquitto_pub", "mqttv311", "-q", fmt.Sprint(1+i%2), "-t", fmt.Sprint("cmd/", i), "-m", text)
	}
	if m.has("commands") {
		m.order(`{"id":"c-1","topic":"cmd/pump","payload":"the command","ttl":"20h"}`)
		m.eventually("the command is carried out", func() bool { return len(m.ordered()["c-1"]) > 0 })
	}
}

// retained comes last, so that state.db does not know of it yet.
func (m *corpusMaker) retained() {
	if !m.has("sessions") {
		return
	}
	m.want.Retained = "on"
	m.mosquitto("mosquitto_pub", "mqttv311", "-q", "2", "-r", "-t", "state", "-m", "on")
}

func (m *corpusMaker) operator() {
	if !m.has("operator") {
		return
	}
	m.want.Token = "prometheus"
	cmd := exec.Command(m.gateway, "operator", "passwd", "-config", m.configFile())
	cmd.Stdin = strings.NewReader("correct horse battery\n")
	if said, err := cmd.CombinedOutput(); err != nil {
		m.Fatalf("%v: %s", err, said)
	}
	m.do(exitOK, m.gateway, "token", "add", "-config", m.configFile(), m.want.Token)
}

// picky is a server that refuses everything for good.
type picky struct {
	*site
	address string
	server  *http.Server

	mu    sync.Mutex
	last  time.Time
	alone map[string]int // how often a block came that cannot be cut
}

func (s *site) startPicky() *picky {
	s.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	p := &picky{site: s, address: listener.Addr().String(), alone: map[string]int{}}
	p.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil {
			p.note(body)
		}
		http.Error(w, "field type conflict", http.StatusBadRequest)
	})}
	go p.server.Serve(listener)
	s.Cleanup(func() { p.server.Close() })
	return p
}

func (p *picky) note(body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	if chunk, err := wire.ParseChunk(body); err == nil && len(chunk.Blocks) == 1 {
		p.alone[fmt.Sprint(chunk.Blocks[0].Lane, chunk.Blocks[0].First)]++
	}
}

// end waits until nothing has come for a while, and returns how many blocks were set
// aside: those that were asked about twice.
func (p *picky) end() (n int) {
	p.Helper()
	p.eventually("something was refused, and nothing is tried any more", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.alone) > 0 && time.Since(p.last) > 3*time.Second
	})
	if err := p.server.Close(); err != nil {
		p.Error(err)
	}
	for _, asked := range p.alone {
		if asked > 1 {
			n++
		}
	}
	return n
}
