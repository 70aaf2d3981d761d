package mqttout

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/uplink/uplinktest"
	"github.com/tidegate/tidegate/wire"
)

// python is Debian's, which knows Debian's packages.
const python = "/usr/bin/python3"

// The receiver of the documentation counts each reading once, although messages
// come again whole and in other pieces, by batch and one by one, the broker is
// stopped and the receiver is killed in the middle of its work.
func TestReceiverCountsEachReadingOnce(t *testing.T) {
	if err := exec.Command(python, "-c", "import paho.mqtt.client").Run(); err != nil {
		t.Skipf("%s has no module paho.mqtt (Debian: python3-paho-mqtt)", python)
	}
	const messages, each = 40, 50
	server := servertest.Mosquitto(t, servertest.User("gw", "s3cret"))
	database := filepath.Join(t.TempDir(), "readings.db")
	receiver := receive(t, server, database)
	sink := newSink(t, telling(t, server))
	send := func(per encode.Per, first, last uint64) {
		t.Helper()
		if err := sink.Send(within(t), document(t, per, first, last)); err != nil {
			t.Fatal(err)
		}
	}
	for !receiver.has(1) { // until it has subscribed
		send(encode.Batch, 1, each)
	}
	for i := uint64(0); i < messages; i++ {
		send([]encode.Per{encode.Batch, encode.Reading, encode.Device}[i%3], i*each+1, (i+1)*each)
		if i%3 == 0 { // the answer was lost
			send(encode.Batch, i*each+1, (i+1)*each)
		}
		if i%4 == 1 { // a crash of the gateway, which cuts otherwise afterwards
			sink.Close()
			sink = newSink(t, telling(t, server))
			send(encode.Device, i*each-each/2, i*each+each/2)
		}
		switch i {
		case 10, 25:
			receiver.kill()
			receiver = receive(t, server, database)
		case 20:
			server.Stop()
			server.Start()
		}
	}
	for late := time.Now().Add(patience); !receiver.has(messages * each); {
		if time.Now().After(late) {
			t.Fatal("the receiver does not get everything")
		}
	}
	receiver.kill()
	if got, want := stored(t, database), fmt.Sprint(messages*each, messages*each, 1, messages*each, 0); got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
}

func telling(t *testing.T, s *servertest.Server) Config {
	cfg := basic(s.Addr("mqtt"))
	cfg.Username, cfg.Password = "gw", uplinktest.Secret(t, "s3cret")
	return cfg
}

// document is a message in JSON, of readings whose values are their numbers.
func document(t *testing.T, per encode.Per, first, last uint64) uplink.Message {
	t.Helper()
	var rs []reading.Reading // of one series, so that blocks keep their order
	for n := first; n <= last; n++ {
		rs = append(rs, reading.Reading{Device: "dev", Metric: "n", Time: int64(n), Value: reading.Float(float64(n))})
	}
	raw, err := wire.NewEncoder().AppendBlock(nil, wire.Header{Epoch: 5, First: first, Boot: 1, Clock: wire.Synced}, rs)
	if err != nil {
		t.Fatal(err)
	}
	block, _, err := wire.ParseBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	m := message(t, "json", per, []wire.Block{block})
	m.First = first
	return m
}

// stored tells of a database: readings, different numbers, lowest, highest, and
// how many have a wrong value.
func stored(t *testing.T, database string) string {
	t.Helper()
	const ask = `import sqlite3, sys
print(*sqlite3.connect(sys.argv[1]).execute("SELECT count(*), count(DISTINCT seq), min(seq), max(seq), sum(seq <> value) FROM readings").fetchone())`
	out, err := exec.CommandContext(t.Context(), python, "-c", ask, database).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// program is a receiver that runs.
type program struct {
	cancel context.CancelFunc
	lines  chan string // closed when it has ended
	wait   func() error
	most   int // readings that it has spoken of
}

// receive starts the receiver of the documentation.
func receive(t *testing.T, s *servertest.Server, database string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, python, "../../docs/connect/receivers/mqtt.py", s.Addr("mqtt"), "tidegate/north-7/#", database, "gw", "s3cret")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{cancel: cancel, lines: make(chan string, 100_000), wait: cmd.Wait}
	go func() {
		defer close(p.lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			p.lines <- scan.Text()
		}
	}()
	t.Cleanup(p.kill)
	return p
}

// kill is kill -9.
func (p *program) kill() {
	p.cancel()
	for range p.lines {
		continue
	}
	p.wait() // it was killed, and says so
}

// has waits a moment for the receiver to say that it has so many readings.
func (p *program) has(readings int) bool {
	moment := time.After(200 * time.Millisecond)
	for p.most < readings {
		select {
		case line := <-p.lines:
			if n, err := strconv.Atoi(strings.TrimSuffix(line, " readings")); err == nil {
				p.most = n
			}
		case <-moment:
			return false
		}
	}
	return true
}
