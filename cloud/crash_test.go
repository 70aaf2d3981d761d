package cloud

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/rerun"
	"github.com/tidegate/tidegate/wire"
)

// crashDir tells the test binary that it is the receiver to be killed.
const crashDir = "TIDEGATE_CLOUD_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		fmt.Fprintln(os.Stderr, receiveUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func receiveUntilKilled(dir string) error {
	s, err := Open(StoreConfig{Dir: dir})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, Routes(NewReceiver(ReceiverConfig{}, s, slog.New(slog.DiscardHandler)), s))
}

// gateway is one that delivers for all it is worth and remembers what it was
// promised. What was not acknowledged it sends again, cut differently.
type gateway struct {
	name    string
	streams bool // it delivers over a WebSocket
	acked   uint64
	rng     *rand.Rand
	acks    chan struct{} // has one element as soon as there was an acknowledgement
}

// promised takes note of an acknowledgement: of everything up to last.
func (g *gateway) promised(last uint64) {
	g.acked = last
	select {
	case g.acks <- struct{}{}:
	default:
	}
}

func (g *gateway) deliver(ctx context.Context, t *testing.T, url string) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for ctx.Err() == nil {
		var blocks []wire.Block
		next := g.acked + 1
		for range 1 + g.rng.IntN(4) {
			last := next + g.rng.Uint64N(20)
			blocks = append(blocks, run(t, next, last))
			next = last + 1
		}
		if g.rng.IntN(2) == 0 {
			blocks = []wire.Block{merge(t, blocks...)}
		}
		body := encode(t, wire.Chunk{Gateway: g.name, Blocks: blocks})
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/ingest", bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Content-Type", ChunkType)
		res, err := client.Do(req)
		if err != nil {
			return // it was killed
		}
		answer, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil && res.StatusCode == 200 && strings.Contains(string(answer), fmt.Sprintf(`"last":%d}`, next-1)) {
			g.promised(next - 1)
		}
	}
}

// Whatever instant the receiver is killed in, what it acknowledged is there when
// it starts again, and each reading once.
func TestKillNineLosesNothingAcked(t *testing.T) {
	dir := t.TempDir()
	gateways := make([]*gateway, 4)
	for i := range gateways {
		gateways[i] = &gateway{name: fmt.Sprintf("g%d", i), streams: i%2 == 1, rng: rand.New(rand.NewPCG(7, uint64(i))), acks: make(chan struct{}, 1)}
	}
	rounds := 24
	if testing.Short() {
		rounds = 4
	}
	lives := rand.New(rand.NewPCG(1, 1))
	for round := range rounds {
		killDuring(t, dir, gateways, gateways[round%len(gateways)], time.Duration(lives.IntN(40))*time.Millisecond)
		s, err := Open(StoreConfig{Dir: dir, ReadOnly: true})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, g := range gateways {
			checkAcked(t, s, g)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, g := range gateways {
		if g.acked == 0 {
			t.Errorf("%s was never acknowledged", g.name)
		}
	}
}

// killDuring starts a receiver, and kills it some time after it has acknowledged
// something to one of the gateways: however slow it is, that has its turn.
func killDuring(t *testing.T, dir string, gateways []*gateway, heard *gateway, life time.Duration) {
	t.Helper()
	child := rerun.Command()
	child.Env = append(os.Environ(), crashDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for _, g := range gateways {
		deliver := g.deliver
		if g.streams {
			deliver = g.deliverStream
		}
		all.Go(func() { deliver(ctx, t, "http://"+strings.TrimSpace(addr)) })
	}
	select {
	case <-heard.acks:
	case <-time.After(time.Minute):
		t.Fatalf("nothing is acknowledged to %s", heard.name)
	}
	<-time.After(life) // the instant is the point of the test
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	_ = child.Wait() // it was killed, and says so
	for _, g := range gateways {
		select {
		case <-g.acks: // of this life
		default:
		}
	}
}

// checkAcked checks that the store holds what the gateway was promised, and
// every number once and in order.
func checkAcked(t *testing.T, s *Store, g *gateway) {
	t.Helper()
	var out bytes.Buffer
	if err := s.Export(t.Context(), &out, Filter{Gateway: g.name}); err != nil {
		t.Fatal(err)
	}
	all := slices.Collect(strings.Lines(out.String()))
	lines := uint64(len(all))
	if lines < g.acked {
		t.Fatalf("%s: %d readings are here, %d were acknowledged", g.name, lines, g.acked)
	}
	if lines == 0 {
		return
	}
	if g.streams { // what was not acknowledged may have holes
		if slices.Sort(all); len(slices.Compact(all)) != int(lines) {
			t.Fatalf("%s: a reading is there twice", g.name)
		}
		lines = g.acked
	}
	want := strings.ReplaceAll(rows(Range{1, lines}), `"gateway":"g"`, fmt.Sprintf(`"gateway":%q`, g.name))
	if !strings.HasPrefix(out.String(), want) || !g.streams && out.String() != want {
		t.Fatalf("%s: the readings are not 1 to %d", g.name, lines)
	}
}
