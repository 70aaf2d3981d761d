package carrier

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/internal/rerun"
	"github.com/tidegate/tidegate/reading"
)

// clock is a clock that can be set.
type clock struct {
	offset atomic.Int64 // from the machine's
	synced atomic.Bool
	uptime atomic.Int64
}

func (c *clock) clock() Clock {
	return Clock{
		Now:    func() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) },
		Synced: c.synced.Load,
		Uptime: func() time.Duration { return time.Duration(c.uptime.Load()) },
	}
}

func (c *clock) set(t time.Time) { c.offset.Store(int64(time.Until(t))) }

func TestAScheduleWaitsForTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clock{}
		c.set(time.Date(1970, 1, 1, 2, 30, 0, 0, time.UTC)) // in the window, if that were true
		c.uptime.Store(int64(time.Minute))
		l := open(t, Config{
			Name: "sat", Schedule: Schedule{window(t, "0 2 * * * for 1h")}, Always: alarms, Zone: time.UTC, Clock: c.clock(),
		})
		changed := make(chan struct{}, 9)
		l.onChange(func() { changed <- struct{}{} })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()
		time.Sleep(time.Minute)
		if p, s := l.Permit(), l.Stats(); p.Lanes != alarms || !s.ClockWaits || !s.Changes.IsZero() {
			t.Errorf("in 1970: %+v, %+v", p, s)
		}

		c.set(time.Date(2026, 5, 4, 2, 30, 0, 0, time.UTC)) // an RTC, without a time source: it may be right
		<-changed
		if p, s := l.Permit(), l.Stats(); p.Lanes != reading.AllLanes || s.ClockWaits {
			t.Errorf("by the RTC: %+v, %+v", p, s)
		}
		time.Sleep(time.Hour)
		<-changed
		if p := l.Permit(); p.Lanes != alarms {
			t.Errorf("after the window: %+v", p)
		}

		c.set(time.Date(2026, 5, 1, 2, 30, 0, 0, time.UTC)) // earlier than it was: wrong
		time.Sleep(2 * time.Minute)
		if p, s := l.Permit(), l.Stats(); p.Lanes != alarms || !s.ClockWaits {
			t.Errorf("set back: %+v, %+v", p, s)
		}
		c.uptime.Add(int64(patience))
		begun := time.Now()
		<-changed
		if p := l.Permit(); p.Lanes != reading.AllLanes || time.Since(begun) > time.Hour {
			t.Errorf("nobody tells the time, and nothing is ever delivered: %+v after %v", p, time.Since(begun))
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestClassesOfLinks(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want Permit
	}{
		"Free":      {Config{}, Permit{Lanes: reading.AllLanes}},
		"Metered":   {Config{Metered: true}, Permit{reading.AllLanes, 4 << 10, time.Minute}},
		"Expensive": {Config{Metered: true, Expensive: true, Lanes: alarms}, Permit{alarms, 16 << 10, 10 * time.Minute}},
		"Own":       {Config{Metered: true, MinBytes: 100, MinAge: time.Second}, Permit{reading.AllLanes, 100, time.Second}},
		"None":      {Config{Metered: true, MinBytes: -1, MinAge: -1}, Permit{Lanes: reading.AllLanes}},
	} {
		if p := open(t, c.cfg).Permit(); p != c.want {
			t.Errorf("%s: %+v, want %+v", name, p, c.want)
		}
	}
}

func TestASessionLastsFromTheFirstConnectionToTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Config{Name: "lte", Budget: Budget{Block: 100_000}})
		a := piped(t, l)
		a.Write(make([]byte, 1000))
		b := piped(t, l)
		a.Close()
		b.Write(make([]byte, 1000))
		b.Close()
		if s := l.Stats(); s.Today.Used != 100_000 || s.Conns != 0 {
			t.Errorf("one session: %+v", s)
		}
		piped(t, l).Close()
		if s := l.Stats(); s.Today.Used != 200_000 {
			t.Errorf("two sessions: %+v", s)
		}
	})
}

func TestWhatWasCountedSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Name: "lte", Budget: Budget{Month: 50_000_000}, State: filepath.Join(t.TempDir(), "lte")}
		var used int64
		for n := range 3 {
			l := open(t, cfg)
			if s := l.Stats(); s.Month.Used != used || s.Sent != 0 {
				t.Errorf("start %d: %+v, want %d", n, s, used)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- l.Run(ctx) }()
			c := piped(t, l)
			c.Write(make([]byte, 10_000))
			if n == 1 {
				c.Close() // otherwise it is open when the gateway stops
			}
			cancel()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			used = l.Stats().Month.Used
			if used < int64(n+1)*10_000 {
				t.Errorf("%d used", used)
			}
		}
	})
}

// TestKillNineForgetsNoMoreThanStated has a process send over a link and tell how
// much it has counted; it is killed, and what its state file has is compared.
func TestKillNineForgetsNoMoreThanStated(t *testing.T) {
	if path := os.Getenv("CARRIER_TEST_STATE"); path != "" {
		spend(path)
		return
	}
	path := filepath.Join(t.TempDir(), "lte")
	var before int64
	for range 5 {
		cmd := rerun.Command("-test.run=^TestKillNineForgetsNoMoreThanStated$")
		cmd.Env = append(os.Environ(), "CARRIER_TEST_STATE="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		var told, bound int64
		for n := 0; n < 200 && lines.Scan(); n++ {
			if _, err := fmt.Sscan(lines.Text(), &told, &bound); err != nil {
				t.Fatalf("%q: %v", lines.Text(), err)
			}
		}
		cmd.Process.Kill()
		for lines.Scan() { // what it said before it died
			fmt.Sscan(lines.Text(), &told, &bound)
		}
		cmd.Wait()
		l := open(t, Config{Name: "lte", State: path})
		used := l.Stats().Month.Used
		l.state.close()
		if missing := told - used; missing > 2*bound+lookBytes || used <= before {
			t.Errorf("%d were counted and %d are known (%d before): %d forgotten, bound %d", told, used, before, missing, bound)
		} else {
			t.Logf("%d counted, %d forgotten, bound %d", told, max(0, missing), bound)
		}
		before = used
	}
}

// spend sends over a link until it is killed, and prints what has been counted.
func spend(path string) {
	l := Open(Config{Name: "lte", State: path, Budget: Budget{Month: 3_000_000}, Clock: Clock{Synced: func() bool { return true }}}, quietLog())
	go l.Run(context.Background())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, c)
		}
	}()
	for {
		c, err := l.Dial(context.Background(), "tcp", listener.Addr().String())
		if err != nil {
			fmt.Println(err)
			return
		}
		c.Write(make([]byte, 4<<10))
		c.Close()
		fmt.Println(l.Stats().Month.Used, l.maxUnsaved())
	}
}

func TestSavesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			budget     Budget
			most, last uint64
		}{
			"ByTime":  {Budget{}, 6, 4},
			"ByBytes": {Budget{Month: 3_600_000}, 170, 90}, // 1000 bytes a second, a hundredth is 36 kB
		} {
			l := open(t, Config{Name: "lte", Budget: c.budget, State: filepath.Join(t.TempDir(), "lte")})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- l.Run(ctx) }()
			conn := piped(t, l)
			for range 3600 {
				conn.Write(make([]byte, 1000))
				time.Sleep(time.Second)
			}
			conn.Close()
			cancel()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if n := l.state.seq; n > c.most || n < c.last {
				t.Errorf("%s: %d saves in an hour", name, n)
			}
		}
	})
}

// TestAnIdleLinkSleeps: without a connection, a budget and a schedule no timer
// runs, and virtual time stands still.
func TestAnIdleLinkSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Config{Name: "eth"})
		piped(t, l).Close()
		l.turn()
		if again := l.turn(); again != 0 {
			t.Errorf("looks again after %v", again)
		}
	})
}

func TestADiskThatFailsIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		l := open(t, Config{Name: "lte", Budget: Budget{Month: 1_000_000}, State: filepath.Join(t.TempDir(), "lte")})
		l.log = textLog(&log)
		l.state.close()
		for range 5 {
			piped(t, l).Write(make([]byte, 20_000))
			l.turn()
			time.Sleep(2 * saveEvery)
		}
		if n := strings.Count(log.String(), "level="); n != 1 || !strings.Contains(log.String(), "hint: ") {
			t.Errorf("reported %d times: %s", n, log.String())
		}
		if s := l.Stats(); s.Problem == "" || s.Month.Used < 100_000 {
			t.Errorf("%+v", s)
		}
	})
}

func TestMeterWithoutTheKernel(t *testing.T) {
	m := meter{ip: ip4Header, stream: true}
	m.payload = passed{14_000, 2_800}
	// 10 segments out, 2 in; SYN and acknowledgements: 10+1+2 out, 2+5+1 in.
	if got, want := m.total(nil, false), (passed{14_000 + 13*52 + 8, 2_800 + 8*52 + 8}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	udp := meter{ip: ip6Header, payload: passed{100, 200}, writes: 2, reads: 3}
	if got, want := udp.total(nil, true), (passed{100 + 2*48, 200 + 3*48}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	// A kernel without bytes_sent (Linux before 4.19) is one that does not count.
	old := &unix.TCPInfo{Segs_out: 5, Data_segs_out: 3}
	if countsBytes(old) {
		t.Error("a kernel that counts no bytes was believed")
	}
	if got := failedDial(ip4Header, 4*time.Second, false); got != (passed{sent: 3 * 60}) {
		t.Errorf("a dial of 4 s: %+v", got)
	}
}

func TestPeekLeavesTheStateAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "links", "lte")
	if s := Peek(Config{Name: "lte", State: path}, quietLog()).Stats(); s.Today.Used != 0 {
		t.Errorf("%+v", s)
	}
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Error("looking has made something")
	}
	l := open(t, Config{Name: "lte", State: path})
	l.ledger.add(1000, 500)
	if err := l.save(true); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := Peek(Config{Name: "lte", State: path}, quietLog())
	if s := p.Stats(); s.Today.Used != 1500 || s.Today.Sent != 1000 {
		t.Errorf("%+v", s)
	}
	after, err := os.ReadFile(path)
	if err != nil || string(before) != string(after) {
		t.Errorf("the file changed, %v", err)
	}
	l.state.close()
}

// TestAStateThatIsOutOfReach is what a read-only or full disk makes of it: the link
// is there, counts, and takes over what the file has as soon as it can.
func TestAStateThatIsOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "links")
		cfg := Config{Name: "lte", Budget: Budget{Month: 1_000_000}, State: filepath.Join(dir, "lte")}
		first := open(t, cfg)
		first.ledger.add(100_000, 0)
		if err := first.save(true); err != nil {
			t.Fatal(err)
		}
		first.state.close()
		if err := os.Rename(dir, dir+"-away"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir, nil, 0o600); err != nil { // nothing can be made in a file
			t.Fatal(err)
		}
		l := open(t, cfg)
		if s := l.Stats(); s.Problem == "" {
			t.Error("no problem is told")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()
		c := piped(t, l)
		c.Write(make([]byte, 50_000)) // and is not held up
		time.Sleep(2 * saveEvery)
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir+"-away", dir); err != nil {
			t.Fatal(err)
		}
		c.Write(make([]byte, 1000))
		time.Sleep(2 * saveEvery)
		if s := l.Stats(); s.Problem != "" || s.Month.Used < 151_000 || s.Month.Used > 160_000 {
			t.Errorf("%+v", s)
		}
		c.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if s := Peek(cfg, quietLog()).Stats(); s.Month.Used < 151_000 {
			t.Errorf("saved: %+v", s)
		}
	})
}
