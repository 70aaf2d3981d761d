package firmwaresim

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func newFleet(tb testing.TB, cfg FleetConfig, ledger *Ledger) *Fleet {
	tb.Helper()
	fleet, err := NewFleet(cfg, ledger)
	if err != nil {
		tb.Fatal(err)
	}
	return fleet
}

func TestFleetPublishesExactlyCountAndTheLedgerKnowsAllOfIt(t *testing.T) {
	for _, shape := range []Shape{JSON4, Array, Plain} {
		addr, got := startMochi(t, false)
		ledger := NewLedger()
		fleet := newFleet(t, FleetConfig{Addr: addr, Devices: 7, Count: 1000, QoS: 1, Shape: shape, Start: noon()}, ledger)
		if err := fleet.Run(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if acked, _ := ledger.Count(); acked != 1000*shape.samples() || got.distinct() != 1000 {
			t.Fatalf("%s: %d samples acknowledged, %d messages arrived", shape, acked, got.distinct())
		}
		s := fleet.Stats()
		if s.Published != 1000 || s.Acked != 1000 || s.Online != 0 || s.Latency.Quantile(.5) <= 0 {
			t.Fatalf("%s: counted %d published, %d acknowledged, %d online", shape, s.Published, s.Acked, s.Online)
		}
	}
}

func TestFleetsOfOneSeedSendTheSameBytes(t *testing.T) {
	send := func(seed uint64) map[string]int {
		addr, got := startMochi(t, false)
		fleet := newFleet(t, FleetConfig{Addr: addr, Devices: 3, Count: 300, QoS: 1, Seed: seed, Start: noon()}, nil)
		if err := fleet.Run(deadline(t)); err != nil {
			t.Fatal(err)
		}
		return got.payloads
	}
	first, second, other := send(1), send(1), send(2)
	same := 0
	for message := range first {
		if second[message] != 1 {
			t.Fatalf("%q was not sent again", message)
		}
		same += other[message]
	}
	if same > 0 {
		t.Fatalf("%d messages of another seed were the same", same)
	}
}

func TestLedgerNeverClaimsWhatTheBrokerDoesNotHave(t *testing.T) {
	addr, got := startMochi(t, false)
	link := startLink(t, addr)
	name := filepath.Join(t.TempDir(), "ledger")
	ledger, err := CreateLedger(name)
	if err != nil {
		t.Fatal(err)
	}
	fleet := newFleet(t, FleetConfig{Addr: link.Addr(), Devices: 5, QoS: 1, Shape: Plain, Client: ClientConfig{Window: 30}}, ledger)
	ctx, stop := context.WithCancel(deadline(t))
	var running sync.WaitGroup
	running.Go(func() {
		if err := fleet.Run(ctx); err != nil {
			t.Errorf("the fleet ended with %v", err)
		}
	})
	for cut := uint64(1); cut <= 3; cut++ {
		eventually(t, func() bool { return fleet.Stats().Connects >= 5*cut && fleet.Stats().Acked > 500*cut })
		link.CutAfter(5000)
		eventually(t, func() bool { return fleet.Stats().Online == 0 })
		link.Restore()
	}
	stop()
	running.Wait()
	if err := ledger.Close(); err != nil {
		t.Fatal(err)
	}
	checkClaims(t, name, got)
}

// checkClaims looks for every claim of a ledger's file at the broker.
func checkClaims(t *testing.T, name string, got *published) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := ReadLedger(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	claims := 0
	for _, account := range ledger.sorted() {
		topic := "site/sim/dev/" + account.device + "/seq"
		for _, s := range account.acked.spans {
			for seq := s.first; seq <= s.last; seq++ {
				claims++
				if got.count(topic+" "+formatSeq(seq)) == 0 {
					t.Fatalf("%s %d is claimed, and the broker does not have it", account.device, seq)
				}
			}
		}
	}
	if acked, again := ledger.Count(); claims < 1500 || acked != uint64(claims) || again == 0 {
		t.Fatalf("%d claims, %d acknowledged, %d again", claims, acked, again)
	}
}

func formatSeq(seq uint64) string {
	device := &Device{shape: Plain, audited: true, seq: seq - 1, random: NewDevice(0, 0, Plain, true).random}
	return string(device.Append(nil, time.Time{}))
}

func TestFleetKeepsItsRate(t *testing.T) {
	addr, _ := startMochi(t, false)
	// 30 messages each, 10 ms apart.
	inTime(t, "120 messages", 250*time.Millisecond, 2*time.Second, func() time.Duration {
		fleet := newFleet(t, FleetConfig{Addr: addr, Devices: 4, Rate: 100, Count: 120, QoS: 1}, nil)
		began := time.Now()
		if err := fleet.Run(deadline(t)); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	})
}

func TestRefusedFleetStops(t *testing.T) {
	addr := farSide(t, func(conn *net.TCPConn) {
		conn.Read(make([]byte, 100))
		conn.Write([]byte{packetConnack, 2, 0, 5}) // not authorised
		io.Copy(io.Discard, conn)
	})
	if err := newFleet(t, FleetConfig{Addr: addr, Devices: 3}, nil).Run(deadline(t)); !errors.Is(err, ErrRefused) {
		t.Fatalf("got %v", err)
	}
}

func TestFleetThatIsToldToStopIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancelCause(deadline(t))
	cancel(errors.New("interrupt signal received")) // as signal.NotifyContext does
	if err := newFleet(t, FleetConfig{Addr: "127.0.0.1:1"}, nil).Run(ctx); err != nil {
		t.Fatalf("got %v", err)
	}
}

func TestFleetThatCannotKeepItsLedgerStops(t *testing.T) {
	addr, _ := startMochi(t, false)
	ledger, err := CreateLedger(filepath.Join(t.TempDir(), "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	ledger.file.Close() // the disk is gone
	if err := newFleet(t, FleetConfig{Addr: addr, QoS: 1}, ledger).Run(deadline(t)); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("got %v", err)
	}
}

func TestFleetConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	for name, cfg := range map[string]FleetConfig{
		"qos":                 {QoS: 3},
		"shape":               {Shape: "xml"},
		"audited opaque":      {Shape: Opaque, Audited: true},
		"plain without topic": {Shape: Plain, Topic: "a/{device}"},
		"no device in topic":  {Topic: "a/b"},
		"rate":                {Rate: -1},
	} {
		if _, err := NewFleet(cfg, nil); err == nil {
			t.Errorf("%s passed", name)
		}
	}
}

func TestShareAddsUp(t *testing.T) {
	for _, total := range []uint64{0, 1, 6, 7, 8, 1000} {
		sum := uint64(0)
		for i := range 7 {
			sum += share(total, 7, i)
		}
		if sum != total {
			t.Errorf("%d became %d", total, sum)
		}
	}
}

func TestQuantilesAreAtMostSixPercentTooHigh(t *testing.T) {
	var h histogram
	var all []time.Duration
	for d := time.Microsecond; d < time.Minute; d += d/7 + 1 {
		h.add(d)
		all = append(all, d)
	}
	var l Latency
	l.merge(&h)
	for _, share := range []float64{0, .5, .9, .99, 1} {
		exact := all[min(int(share*float64(len(all))), len(all)-1)]
		if got := l.Quantile(share); got < exact || float64(got) > math.Ceil(float64(exact)*1.07) {
			t.Errorf("quantile %v: got %v, exactly %v", share, got, exact)
		}
	}
	if empty := (&Latency{}).Quantile(.5); empty != 0 {
		t.Errorf("quantile of nothing: %v", empty)
	}
	h.add(-1)
	h.add(24 * time.Hour)
}

func TestScriptAppliesItsStepsInOrder(t *testing.T) {
	steps, err := ParseScript("0s delay 150ms, 0s bandwidth 32kB # thin\n1ms blackhole\n2ms cut,3ms restore\n3ms cutafter 100")
	if err != nil {
		t.Fatal(err)
	}
	link := startLink(t, "127.0.0.1:1")
	var told []string
	if err := link.Play(deadline(t), steps, func(s Step) {
		state, _ := link.now()
		if s.What == "cut" && !state.cut {
			t.Error("told before it was done")
		}
		told = append(told, s.What)
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"delay 150ms", "bandwidth 32kB", "blackhole", "cut", "restore", "cutafter 100"}
	if !slices.Equal(told, want) {
		t.Fatalf("got %v, want %v", told, want)
	}
	if state, _ := link.now(); state != (linkState{delay: 150 * time.Millisecond, bandwidth: 32_000, cutAfter: 100}) {
		t.Fatalf("left %+v", state)
	}
}

func TestScriptsThatCannotBeReadAreRefused(t *testing.T) {
	for _, text := range []string{"cut", "20s", "20s explode", "20s delay", "20s delay soon", "20s cut now", "20s bandwidth much", "20s cut, 10s restore", "-1s cut"} {
		if _, err := ParseScript(text); err == nil {
			t.Errorf("%q passed", text)
		}
	}
}
