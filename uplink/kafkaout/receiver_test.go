//go:build !nokafka

package kafkaout

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/uplink"
)

// document is a message of encoding json. A reading's value is its number.
func document(first, last uint64) uplink.Message {
	type one struct {
		Seq    uint64 `json:"seq"`
		Device string `json:"device"`
		Metric string `json:"metric"`
		Time   int64  `json:"time"`
		Value  uint64 `json:"value"`
	}
	k := key
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

// receive starts a receiver of the documentation.
func receive(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	args[0] = filepath.Join("..", "..", "docs", "connect", "receivers", args[0])
	cmd := exec.CommandContext(ctx, python, slices.Clone(args)...)
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
	late := time.After(2 * time.Minute) // a group waits for a member that was killed
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
