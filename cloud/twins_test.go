package cloud

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// watch is a receiver whose clock is the test's, and what it logs.
type watch struct {
	*testing.T
	store  *Store
	server *httptest.Server
	log    bytes.Buffer
	next   map[uint64]uint64 // number of an epoch

	mu  sync.Mutex
	now time.Time
}

func newWatch(t *testing.T) *watch {
	w := &watch{T: t, store: openStore(t), next: map[uint64]uint64{}, now: time.Unix(1_800_000_000, 0)}
	w.store.now = w.clock
	r := NewReceiver(ReceiverConfig{}, w.store, slog.New(slog.NewTextHandler(&w.log, nil)))
	w.server = httptest.NewServer(Routes(r, w.store))
	t.Cleanup(func() {
		r.Close()
		w.server.Close()
	})
	return w
}

func (w *watch) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *watch) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// deliver posts a reading of the epoch that was dated so long ago.
func (w *watch) deliver(epoch uint64, ago time.Duration, flags reading.Flags, clock wire.ClockState) {
	w.Helper()
	w.next[epoch]++
	seq := w.next[epoch]
	r := sample(seq)
	r.Time, r.Flags = w.clock().Add(-ago).UnixNano(), flags
	raw, err := wire.NewEncoder().AppendBlock(nil, wire.Header{Epoch: epoch, First: seq, Clock: clock}, []reading.Reading{r})
	if err != nil {
		w.Fatal(err)
	}
	b, _, err := wire.ParseBlock(raw)
	if err != nil {
		w.Fatal(err)
	}
	if status, said, _ := post(w.T, w.server.URL, ChunkType, encode(w.T, chunk(b))); status != http.StatusOK {
		w.Fatalf("answered %d %s", status, said)
	}
}

// twins returns the twin of each epoch in the ledger.
func (w *watch) twins() string {
	w.Helper()
	ledger, err := w.store.Ledger()
	if err != nil {
		w.Fatal(err)
	}
	var all []string
	for _, l := range ledger {
		if l.Twin != "" {
			all = append(all, fmt.Sprintf("%s beside %s", l.Epoch, l.Twin))
		}
	}
	return strings.Join(all, ", ")
}

func TestTwoGatewaysUnderOneNameAreToldOf(t *testing.T) {
	w := newWatch(t)
	for minute := range 59 {
		w.deliver(0xa1, 0, reading.Stamped, wire.Synced)
		w.deliver(0xb2, time.Minute, reading.Stamped, wire.Synced) // over a slow link
		if warned := w.log.Len() > 0; minute < 10 && warned {
			t.Fatalf("after %d minutes: %s", minute, &w.log)
		}
		w.wait(time.Minute)
	}
	if n := strings.Count(w.log.String(), "two gateways deliver under one name"); n != 1 || !strings.Contains(w.log.String(), "gateway=g ") || !strings.Contains(w.log.String(), "hint=") {
		t.Errorf("told %d times: %s", n, &w.log)
	}
	const want = "00000000000000a1 beside 00000000000000b2, 00000000000000b2 beside 00000000000000a1"
	if got := w.twins(); got != want {
		t.Errorf("the ledger says %q, want %q", got, want)
	}
}

func TestWhatTellsNothingOfTwins(t *testing.T) {
	for name, c := range map[string]struct {
		ago   time.Duration
		flags reading.Flags
		clock wire.ClockState
	}{
		"dates of devices":         {0, 0, wire.Synced},
		"a clock that was not set": {0, reading.Stamped, wire.Unsynced},
		"a clock that was set":     {0, reading.Stamped, wire.Stepped},
		"what has waited":          {time.Hour, reading.Stamped, wire.Synced},
		"the future":               {-time.Hour, reading.Stamped, wire.Synced},
	} {
		w := newWatch(t)
		for range 30 {
			w.deliver(0xa1, c.ago, c.flags, c.clock)
			w.deliver(0xb2, c.ago, c.flags, c.clock)
			w.wait(time.Minute)
		}
		if w.log.Len() > 0 || w.twins() != "" {
			t.Errorf("%s: %s%s", name, &w.log, w.twins())
		}
	}
}

// A gateway that was started again delivers what it takes first, and between that, for
// hours, what has waited: the last of it was dated just before the new epoch began. One that
// crashes over and over has an epoch for every minute.
func TestOneGatewayIsNoTwinOfItself(t *testing.T) {
	w := newWatch(t)
	began := w.clock()
	for range 3 * 60 {
		w.deliver(0xb2, 0, reading.Stamped, wire.Synced)
		w.deliver(0xa1, w.clock().Sub(began)+time.Second, reading.Stamped, wire.Synced)
		w.deliver(0xa1, 24*time.Hour, reading.Stamped, wire.Synced)
		w.wait(10 * time.Second)
	}
	for epoch := range uint64(60) {
		w.deliver(0xc00+epoch, 0, reading.Stamped, wire.Synced)
		w.wait(time.Minute)
		w.deliver(0xc01+epoch, 0, reading.Stamped, wire.Synced)
		w.deliver(0xc00+epoch, time.Minute, reading.Stamped, wire.Synced)
		w.deliver(0xc01+epoch, 0, reading.Stamped, wire.Synced)
		w.deliver(0xc00+epoch, time.Minute, reading.Stamped, wire.Synced)
	}
	if w.log.Len() > 0 || w.twins() != "" {
		t.Errorf("%s%s", &w.log, w.twins())
	}
}

func TestWhatIsKnownOfTwinsIsBounded(t *testing.T) {
	var all twins
	now := time.Unix(1_800_000_000, 0)
	for i := range 2 * maxNames {
		all.live(fmt.Sprint(i), 1, now)
	}
	for epoch := range uint64(1000) {
		all.live("0", epoch, now)
	}
	if len(all.names) != maxNames || len(all.names["0"].lives) != maxLives {
		t.Errorf("%d names, %d epochs", len(all.names), len(all.names["0"].lives))
	}
	if all.live("new", 1, now.Add(twinAgain)); len(all.names) != 1 {
		t.Errorf("%d names are remembered after they were silent", len(all.names))
	}
}
