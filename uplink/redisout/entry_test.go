package redisout

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/uplink"
)

// cut returns a message in n parts, and their keys.
func cut(n int) (m uplink.Message, keys []string) {
	m = message(strings.Repeat(`{"value":21.5}`, n))
	m.First, m.Last, m.Count = 1, uint64(n), n
	size := len(m.Body) / n
	for i := range n {
		p := uplink.Part{Body: m.Body[i*size : (i+1)*size], First: uint64(i) + 1, Last: uint64(i) + 1, Count: 1,
			Device: fmt.Sprintf("dev-%d", i%7), Metric: "temp", Time: time.Now().UnixNano()}
		m.Parts = append(m.Parts, p)
		keys = append(keys, m.PartKey(p))
	}
	return m, keys
}

// recorder answers as a server whose clock stands at 2000000, and remembers.
func recorder(t *testing.T) (address string, seen func() []string) {
	var mu sync.Mutex
	var all []string
	address = peer(t, func(words []string) string {
		if words[0] == "CONFIG" {
			return "*0\r\n"
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, strings.Join(words, " "))
		return "$9\r\n2000000-0\r\n"
	})
	return address, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func TestEntryIsTheOneInThePackageComment(t *testing.T) {
	address, seen := recorder(t)
	if err := newSink(t, Config{Address: address}).Send(within(t), message("{}")); err != nil {
		t.Fatal(err)
	}
	want := []string{"XADD telemetry * key north-7/00000000000004d2/normal/1-99 gateway north-7 lane normal first 1 last 99 count 99 type application/json body {}"}
	if got := seen(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPiecesGoToStreamsOfTheirOwn(t *testing.T) {
	address, seen := recorder(t)
	m, keys := cut(20)
	if err := newSink(t, Config{Address: address, Stream: parsed(t, "t:{device}")}).Send(within(t), m); err != nil {
		t.Fatal(err)
	}
	for i, line := range seen() {
		if want := fmt.Sprintf("XADD t:dev-%d * key %s ", i%7, keys[i]); !strings.HasPrefix(line, want) {
			t.Errorf("%q, want it to begin with %q", line, want)
		}
	}
}

// Trimming by age goes by the clock of the server, which is known from its ids.
func TestTrimming(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want []string
	}{
		{Config{MaxLen: 5000}, []string{"XADD telemetry MAXLEN ~ 5000 * ", "XADD telemetry MAXLEN ~ 5000 * "}},
		{Config{MaxAge: 500 * time.Second}, []string{"XADD telemetry * ", "XADD telemetry MINID ~ 1500000 * "}},
		{Config{MaxAge: time.Hour}, []string{"XADD telemetry * ", "XADD telemetry * "}}, // the server's clock is younger
	} {
		address, seen := recorder(t)
		c.cfg.Address = address
		sink := newSink(t, c.cfg)
		for range c.want {
			if err := sink.Send(within(t), message("{}")); err != nil {
				t.Fatal(err)
			}
		}
		for i, line := range seen() {
			if !strings.HasPrefix(line, c.want[i]) {
				t.Errorf("entry %d: %q, want %q", i, line, c.want[i])
			}
		}
	}
}

func TestConfigurationsThatAreMistakes(t *testing.T) {
	stream := parsed(t, "telemetry")
	for hint, cfg := range map[string]Config{
		"host:port":      {Address: "redis://host", Stream: stream},
		"stream = ":      {Address: "host:6379"},
		"by one of them": {Address: "host:6379", Stream: stream, MaxLen: 1, MaxAge: 1},
		"leave out":      {Address: "host:6379", Stream: stream, DB: -1},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%v, want %q in it", err, hint)
		}
	}
}
