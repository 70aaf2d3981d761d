package wsout

import (
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/uplink/encode"
)

// recipe is docs/connect/receivers/websocket.py as a process.
type recipe struct {
	*testing.T
	database, port string
	process        *exec.Cmd
	said           strings.Builder
}

func newRecipe(t *testing.T) *recipe {
	t.Helper()
	if err := exec.Command("/usr/bin/python3", "-c", "import websockets").Run(); err != nil {
		t.Skip("python3-websockets is not there: install the package")
	}
	_, port, _ := net.SplitHostPort(porttest.For(t))
	r := &recipe{T: t, database: filepath.Join(t.TempDir(), "readings.db"), port: port}
	r.start()
	t.Cleanup(r.kill)
	return r
}

func (r *recipe) start() {
	r.Helper()
	r.process = exec.Command("/usr/bin/python3", "../../docs/connect/receivers/websocket.py", r.database, r.port, "s3cret")
	r.process.Stderr = &r.said
	if err := r.process.Start(); err != nil {
		r.Fatal(err)
	}
	waitFor(r.T, func() bool {
		resp, err := http.Get("http://127.0.0.1:" + r.port)
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
}

func (r *recipe) kill() {
	r.process.Process.Kill()
	r.process.Wait() // it was killed, and says so
}

// A stranger's receiver in forty lines, killed in the middle of it all: each reading
// is there once, although the gateway has sent some again.
func TestRecipeCountsOnce(t *testing.T) {
	r := newRecipe(t)
	encoder := encode.NewJSON("north-7")
	sink := newSink(t, Config{URL: "ws://127.0.0.1:" + r.port + "/", Token: secret(t, "s3cret"), Deflate: true})
	const messages, per = 60, 30
	var mu sync.Mutex
	again := 0
	for begin := 0; begin < messages; begin += 20 {
		var tasks sync.WaitGroup
		for n := begin; n < begin+20; n++ {
			m := batch(t, encoder, n, per)
			tasks.Go(func() {
				ctx := within(t)
				for ctx.Err() == nil && sink.Send(ctx, m) != nil {
					mu.Lock()
					again++
					mu.Unlock()
					<-time.After(5 * time.Millisecond) // the Forwarder would wait, too
				}
			})
		}
		r.kill()
		r.start()
		tasks.Wait()
	}
	for n := range messages { // and all of it once more
		if err := sink.Send(within(t), batch(t, encoder, n, per)); err != nil {
			t.Fatal(err)
		}
	}
	bad := batch(t, encoder, 1, per)
	bad.Body = []byte("{")
	if err := sink.Send(within(t), bad); classOf(err) != permanent {
		t.Errorf("got %v", err)
	}
	query := `import sqlite3, sys
print(*sqlite3.connect(sys.argv[1]).execute("SELECT count(*), count(DISTINCT seq), min(seq), max(seq) FROM reading").fetchone())`
	out, err := exec.Command("/usr/bin/python3", "-c", query, r.database).Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != "1800 1800 1 1800" {
		t.Errorf("it has %q, %v\n%s", got, err, &r.said)
	}
	t.Logf("%d tries failed", again)
	if _, err := newSink(t, Config{URL: "ws://127.0.0.1:" + r.port + "/"}).Probe(within(t)); classOf(err) != "1m0s" {
		t.Errorf("without a token: %v", err)
	}
	if sink.Limit() != 8<<20-1024 {
		t.Errorf("limit %d", sink.Limit())
	}
}
