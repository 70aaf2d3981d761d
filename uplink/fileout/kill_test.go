package fileout

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/rerun"
)

// killDir tells the test binary that it is the gateway to be killed, and killForm
// what it writes.
const (
	killDir  = "TIDEGATE_FILEOUT_KILL_DIR"
	killForm = "TIDEGATE_FILEOUT_KILL_FORM"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		writeUntilKilled(dir, os.Getenv(killForm))
	}
	os.Exit(m.Run())
}

// writeUntilKilled says of each message that it is acknowledged.
func writeUntilKilled(dir, form string) {
	cfg := Config{Dir: dir, Name: "north", MaxSize: 200 << 10}
	if form == "zstd" {
		cfg.Compress = Zstd
	}
	s, err := New(cfg)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	from := 0
	fmt.Sscan(os.Getenv("TIDEGATE_FILEOUT_KILL_FROM"), &from)
	var said sync.Mutex
	var tasks sync.WaitGroup
	for sender := range 4 {
		tasks.Go(func() {
			for n := from + sender; ; n += 4 {
				m := document(n, n%20_000)
				if form == "chunks" {
					m = packed(&testing.T{}, n+1, n%20_000)
				}
				err := s.Send(context.Background(), m)
				said.Lock()
				fmt.Println(n, err)
				said.Unlock()
			}
		})
	}
	tasks.Wait()
}

// Whatever instant the gateway is killed in, what was acknowledged is in whole
// records, also when it goes on with the same files and is killed again.
func TestKillNineLosesNothingAcked(t *testing.T) {
	for _, form := range []string{"ndjson", "zstd", "chunks"} {
		t.Run(form, func(t *testing.T) {
			dir, lives := t.TempDir(), rand.New(rand.NewPCG(3, 3))
			var acked []int
			rounds := 10
			if testing.Short() {
				rounds = 2
			}
			for round := range rounds {
				acked = append(acked, killDuring(t, dir, form, round*100_000, time.Duration(lives.IntN(60))*time.Millisecond)...)
				found := recordsIn(t, dir)
				for _, n := range acked {
					if !found[n] {
						t.Fatalf("round %d: %d was acknowledged and is not in %q", round, n, names(t, dir))
					}
				}
			}
			// The next start leaves nothing torn.
			m := document(9_999_999, 1)
			if form == "chunks" {
				m = packed(t, 9_999_999, 1)
			}
			send(t, newSink(t, Config{Dir: dir}), m)
			if form == "ndjson" {
				numbers(t, content(t, dir))
			}
			if parts := slices.DeleteFunc(names(t, dir), func(name string) bool { return !strings.HasSuffix(name, partEnd) }); len(parts) != 1 {
				t.Errorf("written are %q", parts)
			}
			t.Logf("%d messages were acknowledged", len(acked))
		})
	}
}

// killDuring has a gateway write, kills it some time after its first
// acknowledgement, and returns which messages were acknowledged.
func killDuring(t *testing.T, dir, form string, from int, life time.Duration) (acked []int) {
	t.Helper()
	child := rerun.Command()
	child.Env = append(os.Environ(), killDir+"="+dir, killForm+"="+form, fmt.Sprintf("TIDEGATE_FILEOUT_KILL_FROM=%d", from))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(life, func() { child.Process.Kill() }) // the instant is the point of the test
	rest, _ := io.ReadAll(lines)
	_ = child.Wait() // it was killed, and says so
	for line := range strings.Lines(first + string(rest)) {
		var n int
		if _, err := fmt.Sscanf(line, "%d <nil>\n", &n); err != nil {
			if strings.HasSuffix(line, "\n") {
				t.Errorf("it said %q", line)
			}
			continue // cut off in the middle
		}
		acked = append(acked, n)
	}
	return acked
}
