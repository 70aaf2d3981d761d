package httpout

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/cloud"
	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/wire"
)

// recipe is docs/connect/receivers/over_http.py as a process.
type recipe struct {
	*testing.T
	database, port string
	process        *exec.Cmd
}

func newRecipe(t *testing.T) *recipe {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed — hint: apt-get install python3")
	}
	_, port, _ := net.SplitHostPort(porttest.For(t))
	r := &recipe{T: t, database: filepath.Join(t.TempDir(), "readings.db"), port: port}
	r.start()
	t.Cleanup(r.kill)
	return r
}

func (r *recipe) start() {
	r.Helper()
	r.process = exec.Command("python3", "../../docs/connect/receivers/over_http.py", r.database, r.port, "s3cret")
	r.process.Stderr = io.Discard // it logs every request
	if err := r.process.Start(); err != nil {
		r.Fatal(err)
	}
	if !eventually(func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+r.port)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}) {
		r.Fatal("the receiver does not listen")
	}
}

// kill is kill -9.
func (r *recipe) kill() {
	r.process.Process.Kill()
	r.process.Wait()
}

// stored returns how many readings there are, how many numbers, and their sum.
func (r *recipe) stored() string {
	r.Helper()
	query := `import sqlite3, sys
print(*sqlite3.connect(sys.argv[1]).execute("SELECT count(*), count(DISTINCT seq), sum(value) FROM reading").fetchone())`
	out, err := exec.Command("python3", "-c", query, r.database).Output()
	if err != nil {
		r.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestRecipeStoresEachReadingOnce kills the receiver in mid-stream, and sends all
// again, cut otherwise.
func TestRecipeStoresEachReadingOnce(t *testing.T) {
	r := newRecipe(t)
	token := secret(t, "s3cret")
	sink := newSink(t, Config{URL: "http://127.0.0.1:" + r.port + "/", Auth: Auth{TokenFile: token}, Compression: Auto, Connections: 4})
	const messages, each = 40, 25
	var blocks []wire.Block
	sum := 0.0
	for i := range messages {
		rs := measured("boiler", i*each, each, number)
		for _, m := range rs {
			sum += m.Value.Float()
		}
		blocks = append(blocks, blockOf(t, uint64(i*each+1), rs))
	}
	e, err := encode.New(encode.Config{Gateway: "north-7", Encoding: "json"})
	if err != nil {
		t.Fatal(err)
	}
	send := func(from, to int) error {
		m := written(t, blocks[from:to]...)
		m.ContentType = e.ContentType()
		if m.Body, m.Parts, err = e.Encode(nil, blocks[from:to], 1<<30); err != nil {
			t.Fatal(err)
		}
		return sink.Send(within(t, patience), m)
	}
	for i := range messages {
		if i%15 == 10 {
			inFlight := make(chan error)
			go func() { inFlight <- send(i, i+1) }()
			r.kill()
			if err := <-inFlight; uplink.IsPermanent(err) {
				t.Errorf("a receiver that was killed: %v", err)
			}
			r.start()
		}
		if err := send(i, i+1); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	for i := 0; i+3 <= messages; i += 2 {
		if err := send(i, i+3); err != nil {
			t.Fatalf("again: %v", err)
		}
	}
	if got, want := r.stored(), fmt.Sprintf("%d %d %.1f", messages*each, messages*each, sum); got != want {
		t.Errorf("stored %s (readings, numbers, sum), want %s", got, want)
	}
	wrong := newSink(t, Config{URL: "http://127.0.0.1:" + r.port + "/", Auth: Auth{TokenFile: secret(t, "guess")}})
	if err := wrong.Send(within(t, patience), message("application/json", []byte("{}"))); err == nil || uplink.IsPermanent(err) {
		t.Errorf("a wrong token: %v", err)
	}
	if err := sink.Send(within(t, patience), message("application/json", []byte("{}"))); !uplink.IsPermanent(err) {
		t.Errorf("a document that is none: %v", err)
	}
}

// TestRecipeRefusesWhatItCannotKeep: what is damaged or too large has an answer, or
// it would be sent for ever.
func TestRecipeRefusesWhatItCannotKeep(t *testing.T) {
	r := newRecipe(t)
	for name, c := range map[string]struct { // one connection serves them all
		packed bool
		body   []byte
		want   func(error) bool
	}{
		"Damaged":       {false, []byte("{"), uplink.IsPermanent},
		"DamagedDeeply": {true, append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3}, strings.Repeat("\xff", 100)...), uplink.IsPermanent},
		"TooLarge":      {false, []byte(strings.Repeat(" ", 9<<20)), uplink.IsTooLarge},
		"Bomb":          {true, zipped(t, strings.Repeat(" ", 9<<20)), uplink.IsTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodPost, "http://127.0.0.1:"+r.port+"/", bytes.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer s3cret")
			if c.packed {
				req.Header.Set("Content-Encoding", "gzip")
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			if verdict := judge(resp, answer, key, false); err != nil || !c.want(verdict) {
				t.Errorf("%v, %v", verdict, err)
			}
		})
	}
}

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	p, err := newPacker(Gzip)
	if err != nil {
		t.Fatal(err)
	}
	body, _, err := p.pack("text/plain", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestCloudTakesPartsOfAMessage: a message for each device carries numbers with holes
// and a key that names the device, and tidegate-cloud takes those, too.
func TestCloudTakesPartsOfAMessage(t *testing.T) {
	store, err := cloud.Open(cloud.StoreConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	server := httptest.NewServer(cloud.NewReceiver(cloud.ReceiverConfig{}, store, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	sink := newSink(t, Config{URL: server.URL + "/v1/ingest", Connections: 2})
	first, second := blockOf(t, 1, slices.Concat(measured("a", 0, 3, number), measured("b", 0, 3, number))), blockOf(t, 7, measured("a", 9, 4, number))
	for _, per := range []encode.Per{encode.Batch, encode.Device, encode.Series} {
		e, err := encode.New(encode.Config{Gateway: "north-7", Encoding: "json", Per: per, Pieces: true})
		if err != nil {
			t.Fatal(err)
		}
		m := written(t, first, second)
		m.ContentType = e.ContentType()
		if m.Body, m.Parts, err = e.Encode(nil, []wire.Block{first, second}, 1<<20); err != nil {
			t.Fatal(err)
		}
		if err := sink.Send(within(t, patience), m); err != nil {
			t.Errorf("per %s: %v", per, err)
		}
	}
}

// TestProbeOfATidegateCloud: nothing is sent, and a wrong token is noticed.
func TestProbeOfATidegateCloud(t *testing.T) {
	store, err := cloud.Open(cloud.StoreConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	server := httptest.NewServer(cloud.NewReceiver(cloud.ReceiverConfig{Tokens: map[string]string{"north-7": "s3cret"}}, store, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	for token, want := range map[string]string{"s3cret": "", "guess": "check the token"} {
		sink := newSink(t, Config{URL: server.URL + "/v1/ingest", Auth: Auth{TokenFile: secret(t, token)}})
		about, err := sink.Probe(within(t, patience))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || err == nil && !strings.Contains(about, "answers") {
			t.Errorf("%s: %q, %v; want %q", token, about, err, want)
		}
	}
}

// TestProbeOfAnEndpointOnlyConnects: what it would make of nothing, nobody knows.
func TestProbeOfAnEndpointOnlyConnects(t *testing.T) {
	i := newIssuer()
	requests := make(chan string, 9)
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) { requests <- r.Method })
	sink := newSink(t, Config{URL: url, TrustStatus: true, Auth: Auth{OAuth: i.config(t, serve(t, i.ServeHTTP))}})
	if about, err := sink.Probe(within(t, patience)); err != nil || !strings.Contains(about, "answers") {
		t.Errorf("%q, %v", about, err)
	}
	if len(requests) > 0 || i.count() != 1 {
		t.Errorf("%d requests, %d tokens; want a token and no request", len(requests), i.count())
	}
	i.status, i.answer = 401, `{"error":"invalid_client"}`
	sink = newSink(t, Config{URL: url, TrustStatus: true, Auth: Auth{OAuth: i.config(t, serve(t, i.ServeHTTP))}})
	if about, err := sink.Probe(within(t, patience)); err == nil || !strings.Contains(err.Error(), "client_secret_file") {
		t.Errorf("%q, %v; want what is wrong with the token", about, err)
	}
}
