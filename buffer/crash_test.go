package buffer

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/rerun"
	"github.com/tidegate/tidegate/reading"
)

// TestKillNineLosesNothingAcknowledged kills a process that accepts readings
// and prints what was acknowledged, again and again, and compares.
func TestKillNineLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var acked []string
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		acked = append(acked, crashRound(t, dir, round, time.Duration(rng.IntN(40))*time.Millisecond)...)
	}
	r := start(t, dir, func(c *Config) { c.MaxBytes = 1 << 30 })
	have := map[string]int{}
	c := r.Cursor("cloud")
	for len(have) < len(acked) {
		for _, b := range r.next(c, 1<<20) {
			for _, rd := range decode(t, b) {
				have[rd.Device+"/"+rd.Value.String()]++
			}
			c.Ack(b.Lane, b.First, b.Last())
		}
		if c.Lag().Readings == 0 {
			break
		}
	}
	for _, a := range acked {
		if have[a] == 0 {
			t.Fatalf("%s was acknowledged and is lost (%d acknowledged, %d there)", a, len(acked), len(have))
		}
	}
	for id, n := range have {
		if n > 1 {
			t.Fatalf("%s is there %d times", id, n)
		}
	}
	t.Logf("%d rounds, %d acknowledged, %d there", rounds, len(acked), len(have))
}

// crashRound runs the child until after the delay, kills it, and returns what
// it said was acknowledged.
func crashRound(t *testing.T, dir string, round int, delay time.Duration) []string {
	t.Helper()
	cmd := rerun.Command("-test.run=^$")
	cmd.Env = append(os.Environ(), "TIDEGATE_CRASH_DIR="+dir, fmt.Sprintf("TIDEGATE_CRASH_ROUND=%d", round))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acked []string
	var timer *time.Timer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if timer == nil { // from the first acknowledgement on
			timer = time.AfterFunc(delay, func() { cmd.Process.Kill() })
		}
		acked = append(acked, lines.Text())
	}
	cmd.Wait()
	if len(acked) == 0 {
		t.Fatalf("round %d: nothing was acknowledged", round)
	}
	return acked
}

// crashChild accepts readings until it is killed, and prints each that was
// acknowledged.
func crashChild(dir string) {
	b, err := Open(Config{Dir: dir, MaxBytes: 1 << 30, Clock: testClock()}, slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	go b.Run(context.Background())
	round := os.Getenv("TIDEGATE_CRASH_ROUND")
	done := make(chan bool)
	for w := range 4 {
		go func() {
			device := fmt.Sprintf("r%s-w%d", round, w)
			for i := 0; ; i++ {
				receipt, err := b.Accept(context.Background(), []reading.Reading{{Device: device, Metric: "m", Time: int64(i + 1), Value: reading.Float(float64(i))}})
				if err == nil {
					err = receipt.Wait(context.Background())
				}
				if err != nil {
					panic(err)
				}
				os.Stdout.WriteString(fmt.Sprintf("%s/%d\n", device, i)) // one write: no line is torn
			}
		}()
	}
	<-done
}
