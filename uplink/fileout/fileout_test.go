package fileout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/wire"
)

// patience bounds what must happen soon.
const patience = time.Minute

func newSink(t testing.TB, cfg Config) *Sink {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.Name = "north"
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// document is message n as a JSON document.
func document(n, size int) uplink.Message {
	body := fmt.Appendf(nil, `{"n":%d,"fill":%q}`, n, strings.Repeat("x", size))
	return uplink.Message{Key: keyOf(n), Count: 1, ContentType: "application/json", Body: body}
}

func keyOf(n int) uplink.Key {
	return uplink.Key{Gateway: "g", Epoch: 0xa1, Lane: reading.Normal, First: uint64(n), Last: uint64(n)}
}

// packed is message n as a chunk.
func packed(t testing.TB, n, size int) uplink.Message {
	t.Helper()
	rs := []reading.Reading{{Device: "d", Metric: "m", Time: int64(n), Value: reading.String(strings.Repeat("x", size))}}
	raw, err := wire.NewEncoder().AppendBlock(nil, wire.Header{Epoch: 0xa1, First: uint64(n)}, rs)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := wire.ParseBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	raw, err = wire.AppendChunk(nil, wire.Chunk{Gateway: "g", Blocks: []wire.Block{b}})
	if err != nil {
		t.Fatal(err)
	}
	return uplink.Message{Key: keyOf(n), Count: 1, ContentType: "application/vnd.tidegate.chunk", Body: raw}
}

func send(t testing.TB, s *Sink, ms ...uplink.Message) {
	t.Helper()
	for _, m := range ms {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := s.Send(ctx, m); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
}

// names are those of the folder's files, their times replaced by T.
func names(t testing.TB, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range list {
		all = append(all, regexp.MustCompile(`\d{8}T\d{6}Z`).ReplaceAllString(d.Name(), "T"))
	}
	return all
}

// content is all that the folder's files hold, by number.
func content(t testing.TB, dir string) string {
	t.Helper()
	var all strings.Builder
	list, err := filepath.Glob(filepath.Join(dir, "north-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// numbers are the numbers of the documents in the lines, in order.
func numbers(t testing.TB, lines string) (all []int) {
	t.Helper()
	for line := range strings.Lines(lines) {
		var doc struct{ N int }
		if !strings.HasSuffix(line, "\n") || json.Unmarshal([]byte(line), &doc) != nil {
			t.Errorf("%.60q is no record", line)
		}
		all = append(all, doc.N)
	}
	return all
}

func TestFilesHaveARecordALine(t *testing.T) {
	s := newSink(t, Config{})
	lines := document(3, 1)
	lines.ContentType, lines.Body = "application/x-ndjson", []byte("{\"n\":3}\n{\"n\":4}\n")
	send(t, s, document(1, 10), document(2, 10), lines)
	if got := names(t, s.cfg.Dir); !slices.Equal(got, []string{"north-T-000001.ndjson.part"}) {
		t.Errorf("files %q", got)
	}
	if got := numbers(t, content(t, s.cfg.Dir)); !slices.Equal(got, []int{1, 2, 3, 4}) {
		t.Errorf("records %v", got)
	}
}

// slow is a disk whose syncs wait.
type slow struct {
	handle
	syncs *atomic.Int32
	gate  chan struct{}
}

func (s slow) Sync() error {
	s.syncs.Add(1)
	<-s.gate
	return s.handle.Sync()
}

func slowSink(t *testing.T) (*Sink, *atomic.Int32, chan struct{}) {
	s, syncs, gate := newSink(t, Config{}), new(atomic.Int32), make(chan struct{})
	s.disk.open = func(path string, fresh bool) (handle, error) {
		h, err := openFile(path, fresh)
		return slow{h, syncs, gate}, err
	}
	return s, syncs, gate
}

func TestNilMeansSynced(t *testing.T) {
	s, syncs, gate := slowSink(t)
	sent := make(chan error, 1)
	go func() { sent <- s.Send(context.Background(), document(1, 10)) }()
	waitFor(t, func() bool { return syncs.Load() == 1 })
	select {
	case err := <-sent:
		t.Errorf("Send returned %v before the sync", err)
	default:
	}
	close(gate)
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestSendsSideBySideShareASync(t *testing.T) {
	s, syncs, gate := slowSink(t)
	var tasks sync.WaitGroup
	tasks.Go(func() { send(t, s, document(0, 10)) })
	waitFor(t, func() bool { return syncs.Load() == 1 })
	for n := range 20 {
		tasks.Go(func() { send(t, s, document(n+1, 10)) })
	}
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.queue) == 20
	})
	close(gate)
	tasks.Wait()
	if n := syncs.Load(); n != 2 {
		t.Errorf("%d syncs, want 2", n)
	}
	if got := numbers(t, content(t, s.cfg.Dir)); len(got) != 21 {
		t.Errorf("records %v", got)
	}
}

// A disk that does not answer holds nobody longer than he wants to wait, and what
// was given up is neither kept in memory nor written later.
func TestSendEndsWithItsContext(t *testing.T) {
	s, syncs, gate := slowSink(t)
	first := make(chan error, 1)
	go func() { first <- s.Send(context.Background(), document(1, 10)) }()
	waitFor(t, func() bool { return syncs.Load() == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.Send(ctx, document(2, 10))
	if !errors.Is(err, context.Canceled) || uplink.IsPermanent(err) || !strings.Contains(err.Error(), "hint: ") {
		t.Errorf("got %v", err)
	}
	close(gate)
	if err := <-first; err != nil {
		t.Error(err)
	}
	send(t, s, document(3, 10))
	if got := numbers(t, content(t, s.cfg.Dir)); !slices.Equal(got, []int{1, 3}) {
		t.Errorf("records %v", got)
	}
}

func TestFilesAreFinishedBySize(t *testing.T) {
	s := newSink(t, Config{MaxSize: 1000})
	for n := range 7 {
		send(t, s, document(n, 400))
	}
	want := []string{"north-T-000001.ndjson", "north-T-000002.ndjson", "north-T-000003.ndjson.part"}
	if got := names(t, s.cfg.Dir); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	if got := numbers(t, content(t, s.cfg.Dir)); !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6}) {
		t.Errorf("records %v", got)
	}
}

// A file is finished at its age, although nothing more comes.
func TestFilesAreFinishedByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(t, Config{MaxAge: time.Minute, Dir: t.TempDir()})
		send(t, s, document(1, 10))
		time.Sleep(59 * time.Second)
		send(t, s, document(2, 10))
		if got := names(t, s.cfg.Dir); !slices.Equal(got, []string{"north-T-000001.ndjson.part"}) {
			t.Errorf("files %q", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := names(t, s.cfg.Dir); !slices.Equal(got, []string{"north-T-000001.ndjson"}) {
			t.Errorf("files %q", got)
		}
		send(t, s, document(3, 10))
		if got := names(t, s.cfg.Dir); !slices.Equal(got, []string{"north-T-000001.ndjson", "north-T-000002.ndjson.part"}) {
			t.Errorf("files %q", got)
		}
	})
}

func TestOldFilesGoAndOthersStay(t *testing.T) {
	dir := t.TempDir()
	foreign := []string{"north-20200101T000000Z-000001.csv", "north.ndjson", "south-20200101T000000Z-000001.ndjson", "north-20200101T000000Z-1.ndjson", "xnorth-20200101T000000Z-000001.ndjson"}
	for _, name := range foreign {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "north-20200101T000000Z-000001.ndjson"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := newSink(t, Config{Dir: dir, MaxSize: 1, Keep: 3})
	for n := range 8 {
		send(t, s, document(n, 10))
	}
	var left []string
	for _, name := range names(t, dir) {
		if strings.HasPrefix(name, "north-T-00000") && !strings.HasSuffix(name, "1.ndjson") && !strings.HasSuffix(name, "csv") {
			left = append(left, name)
		}
	}
	if want := []string{"north-T-000005.ndjson", "north-T-000006.ndjson", "north-T-000007.ndjson", "north-T-000008.ndjson.part"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
	for _, name := range foreign {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	s.cfg.Keep, s.cfg.KeepBytes = 0, 60
	send(t, s, document(9, 10), document(10, 10))
	if got := len(names(t, dir)); got != len(foreign)+1+2+1 { // two of 28 bytes fit, and the one that is written
		t.Errorf("%d files: %q", got, names(t, dir))
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for _, cfg := range []Config{{Dir: "relative", Name: "a"}, {Dir: "/x"}, {Dir: "/x", Name: "a/b"}, {Dir: "/x", Name: "ü"}} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestWhatHasNoPlaceInAFile(t *testing.T) {
	s := newSink(t, Config{})
	for _, c := range []struct {
		contentType, body string
		permanent         bool
	}{
		{"application/senml+cbor", "x", false},
		{"", "x", false},
		{"application/json", "{\n}", true},
		{"application/json", "", true},
	} {
		m := document(1, 1)
		m.ContentType, m.Body = c.contentType, []byte(c.body)
		err := s.Send(t.Context(), m)
		if delay, asked := uplink.RetryDelay(err); err == nil || uplink.IsPermanent(err) != c.permanent || !c.permanent && (!asked || delay != uplink.ConfigDelay) {
			t.Errorf("%q %q: %v", c.contentType, c.body, err)
		}
	}
	if got := names(t, s.cfg.Dir); len(got) > 0 {
		t.Errorf("files %q", got)
	}
}

func TestProbe(t *testing.T) {
	s := newSink(t, Config{Dir: filepath.Join(t.TempDir(), "a", "b")})
	about, err := s.Probe(t.Context())
	if err != nil || !strings.Contains(about, s.cfg.Dir) || !strings.Contains(about, "free") {
		t.Errorf("%q, %v", about, err)
	}
	s.disk.writable = func(string) error { return syscall.EROFS }
	if _, err := s.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("got %v", err)
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s := newSink(t, Config{MaxSize: 100, Compress: Zstd})
	send(t, s, document(1, 200), document(2, 200), document(3, 200))
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Send(t.Context(), document(4, 1)); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
	leaktest.None(t, before)
}

func waitFor(t testing.TB, met func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !met() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited in vain")
		}
	}
}
