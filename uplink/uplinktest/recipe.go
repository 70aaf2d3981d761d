package uplinktest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// python is Debian's, which knows Debian's packages.
const python = "/usr/bin/python3"

// Recipe is a receiver of docs/connect/receivers, with what it needs to run.
type Recipe struct {
	// Script is the file's name. Module is what it imports, of Debian's Package.
	Script, Module, Package string
	// Server is what it takes its messages from. It is killed.
	Server *servertest.Server
	// Args are its arguments, before the name of the database, and Env what it finds
	// in its environment beside what is there.
	Args, Env []string
	// New returns a Sink that sends to where the receiver takes from.
	New func(t *testing.T) uplink.Sink
}

// RunRecipe proves that a receiver counts each reading once, although messages come
// again, whole and in other pieces, others write there as well, the server is killed,
// and the receiver is killed in the middle of its work.
func RunRecipe(t *testing.T, r Recipe) {
	t.Helper()
	if err := exec.CommandContext(t.Context(), python, "-c", "import "+r.Module).Run(); err != nil {
		t.Skipf("%s has no module %s (Debian: %s)", python, r.Module, r.Package)
	}
	const messages, each = 60, 50
	database := filepath.Join(t.TempDir(), "readings.db")
	receiver := r.start(t, database)
	for i := range messages {
		r.crash(t, i*each, each, i)
		switch i {
		case 15, 33:
			receiver.waitFor(t, 1)
			receiver.kill()
			receiver = r.start(t, database)
		case 25:
			r.Server.Kill() // the receiver ends with an error, and is started again
			r.Server.Start()
			receiver.kill()
			receiver = r.start(t, database)
		}
	}
	receiver.waitFor(t, messages*each)
	receiver.kill()
	if got, want := stored(t, database), fmt.Sprint(messages*each, messages*each, 1, messages*each, 0); got != want {
		t.Errorf("readings, different numbers, lowest, highest, wrong values: %s, want %s", got, want)
	}
}

// crash is a gateway's life from its start to its kill -9: it sends the n readings
// after done, and now and then what it has sent before.
func (r Recipe) crash(t *testing.T, done, n, life int) {
	t.Helper()
	sink := r.New(t)
	if c, ok := sink.(io.Closer); ok {
		defer c.Close()
	}
	all := []uplink.Message{document(done+1, done+n)}
	if life%3 == 0 { // the answer was lost
		all = append(all, all[0])
	}
	if life%7 == 0 { // somebody else writes there, too
		for i, text := range []string{"hello", "[1]", "{}", `{"gateway":"g","readings":[7]}`, "\xff"} {
			k := uplink.Key{Gateway: "other", First: uint64(i), Last: uint64(life)}
			all = append(all, uplink.Message{Key: k, Count: 1, ContentType: "application/json", Body: []byte(text)})
		}
	}
	if life%4 == 0 { // what was in flight is cut otherwise after the crash
		all = append(all, document(max(done-n/2, 1), done+n/2))
	}
	for _, m := range all {
		if err := sink.Send(within(t), m); err != nil {
			t.Fatal(err)
		}
	}
}

// document is a message of encoding json. A reading's value is its number.
func document(first, last int) uplink.Message {
	type one struct {
		Seq    int    `json:"seq"`
		Device string `json:"device"`
		Metric string `json:"metric"`
		Time   int64  `json:"time"`
		Value  int    `json:"value"`
	}
	k := uplink.Key{Gateway: "north-7", Epoch: 0x4d2, Lane: reading.Normal, First: uint64(first), Last: uint64(last)}
	var list []one
	for n := first; n <= last; n++ {
		list = append(list, one{n, "boiler", "temp", 1_700_000_000_123_000_000 + int64(n), n})
	}
	body, _ := json.Marshal(map[string]any{"gateway": k.Gateway, "epoch": fmt.Sprintf("%016x", k.Epoch), "lane": k.Lane.String(),
		"first": first, "last": last, "readings": list}) // strings and numbers can be marshalled
	return uplink.Message{Key: k, Count: len(list), ContentType: "application/json", Body: body}
}

// stored tells of a database: readings, different numbers, lowest, highest, and how
// many have a wrong value.
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
	said   *strings.Builder // on standard error
}

func (r Recipe) start(t *testing.T, database string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	script := filepath.Join("..", "..", "docs", "connect", "receivers", r.Script)
	cmd := exec.CommandContext(ctx, python, append(append([]string{script}, r.Args...), database)...)
	p := &program{cancel: cancel, lines: make(chan string), wait: cmd.Wait, said: &strings.Builder{}}
	cmd.Stderr, cmd.Env = p.said, append(os.Environ(), r.Env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
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
	late := time.After(6 * patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.kill()
				t.Fatalf("the receiver has ended: %s", p.said)
			}
			if n, err := strconv.Atoi(strings.TrimSuffix(line, " readings")); err == nil && n >= readings {
				return
			}
		case <-late:
			t.Fatalf("the receiver does not get %d readings", readings)
		}
	}
}
