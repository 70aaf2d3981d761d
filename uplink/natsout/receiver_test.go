package natsout

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// The receiver of the documentation counts each reading once, although messages
// come again whole and in other pieces, the server is killed and the receiver is
// killed in the middle of its work.
func TestReceiverCountsEachReadingOnce(t *testing.T) {
	requirePython(t, "sqlite3", "python3")
	const messages, each = 60, 50
	server := servertest.NATS(t, servertest.User(user, password))
	makeStream(t, server.Addr("nats"), jetstream.StreamConfig{})
	database := filepath.Join(t.TempDir(), "readings.db")
	login := []string{"NATS_USER=" + user, "NATS_PASSWORD=" + password}
	start := func() *program { return startReceiver(t, login, "nats.py", server.Addr("nats"), stream, database) }
	receiver := start()
	for i := range messages {
		sink := as(t, server.Addr("nats"), password, Config{})
		m := document(uint64(i*each+1), uint64((i+1)*each))
		mustSend(t, sink, m)
		if i%3 == 0 { // the answer was lost
			mustSend(t, sink, m)
		}
		if i%4 == 0 { // a crash of the gateway, which cuts otherwise afterwards
			mustSend(t, sink, document(uint64(max(i*each-each/2, 1)), uint64(i*each+each/2)))
		}
		sink.Close()
		switch i {
		case 15, 33:
			receiver.waitFor(t, 1)
			receiver.kill()
			receiver = start()
		case 25:
			server.Kill() // the receiver ends, and is started again
			server.Start()
			receiver.kill()
			receiver = start()
		}
	}
	receiver.waitFor(t, messages*each)
	receiver.kill()
	if got, want := stored(t, database), fmt.Sprint(messages*each, messages*each, 1, messages*each, 0); got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func mustSend(t *testing.T, sink uplink.Sink, m uplink.Message) {
	t.Helper()
	if err := sink.Send(within(t, soon), m); err != nil {
		t.Fatal(err)
	}
}

// document is a message of encoding json. A reading's value is its number.
func document(first, last uint64) uplink.Message {
	type one struct {
		Seq    uint64 `json:"seq"`
		Device string `json:"device"`
		Metric string `json:"metric"`
		Time   int64  `json:"time"`
		Value  uint64 `json:"value"`
	}
	k := uplink.Key{Gateway: "north-7", Epoch: 0x4d2, Lane: reading.Normal}
	k.First, k.Last = first, last
	var list []one
	for n := first; n <= last; n++ {
		list = append(list, one{n, "boiler", "temp", 1700000000123000000 + int64(n), n})
	}
	body, _ := json.Marshal(map[string]any{"gateway": k.Gateway, "epoch": fmt.Sprintf("%016x", k.Epoch), "lane": k.Lane.String(),
		"first": first, "last": last, "readings": list}) // strings and numbers can be marshalled
	return uplink.Message{Key: k, Count: len(list), ContentType: "application/json", Body: body}
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

// python is Debian's, which knows Debian's packages.
const python = "/usr/bin/python3"

func requirePython(t *testing.T, module, pack string) {
	t.Helper()
	if err := exec.CommandContext(t.Context(), python, "-c", "import "+module).Run(); err != nil {
		t.Skipf("%s has no module %s (Debian: %s)", python, module, pack)
	}
}

// program is a receiver that runs.
type program struct {
	cancel context.CancelFunc
	lines  chan string // closed when it has ended
	wait   func() error
}

// startReceiver starts a receiver of the documentation.
func startReceiver(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	args[0] = filepath.Join("..", "..", "docs", "receivers", args[0])
	cmd := exec.CommandContext(ctx, python, slices.Clone(args)...)
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{cancel: cancel, lines: make(chan string), wait: cmd.Wait}
	go func() {
		defer close(p.lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			select {
			case p.lines <- scan.Text():
			case <-ctx.Done():
				return
			}
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

// waitFor waits until the receiver says that it has so many readings.
func (p *program) waitFor(t *testing.T, readings int) {
	t.Helper()
	late := time.After(6 * soon)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				t.Fatal("the receiver has ended")
			}
			if n, err := strconv.Atoi(strings.TrimSuffix(line, " readings")); err == nil && n >= readings {
				return
			}
		case <-late:
			t.Fatalf("the receiver does not get %d readings", readings)
		}
	}
}
