package buffer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// running is a Buffer and the goroutine that commits.
type running struct {
	*Buffer
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error
}

func testClock() Clock {
	return Clock{Boot: 1, Uptime: func() time.Duration { return 0 }, State: func() wire.ClockState { return wire.Synced }}
}

func open(t *testing.T, dir string, adjust func(*Config)) *Buffer {
	t.Helper()
	cfg := Config{Dir: dir, MaxBytes: MinBytes, Clock: testClock()}
	if adjust != nil {
		adjust(&cfg)
	}
	b, err := Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func start(t *testing.T, dir string, adjust func(*Config)) *running {
	t.Helper()
	return runBuffer(t, open(t, dir, adjust))
}

func runBuffer(t *testing.T, b *Buffer) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Buffer: b, t: t, cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- b.Run(ctx) }()
	t.Cleanup(r.stop)
	return r
}

func (r *running) stop() {
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	if err := <-r.ended; err != nil {
		r.t.Errorf("run: %v", err)
	}
}

// crash ends the run in order and then takes back what only a clean end writes.
func (r *running) crash() {
	dir := r.cfg.Dir
	r.stop()
	s, _, err := openState(dir)
	if err != nil {
		r.t.Fatal(err)
	}
	defer s.close()
	var end session
	if err := get(s, bucketMeta, sessionKey, func(v session) { end = v }); err != nil {
		r.t.Fatal(err)
	}
	end.Clean = false
	if err := s.update(put(bucketMeta, []byte(sessionKey), end)); err != nil {
		r.t.Fatal(err)
	}
}

// killed returns a folder with the files as a process that is killed now would
// leave them.
func (r *running) killed() string {
	r.t.Helper()
	var err error
	for range 10 {
		dir := r.t.TempDir()
		if err = os.CopyFS(dir, os.DirFS(r.cfg.Dir)); err == nil {
			return dir
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		// A file that was replaced has gone since the folder was read: it is a moment later now.
	}
	r.t.Fatal(err)
	return ""
}

// accept takes readings of the values and waits until they are on flash.
func (r *running) accept(device string, values ...float64) {
	r.t.Helper()
	var rs []reading.Reading
	for i, v := range values {
		rs = append(rs, reading.Reading{Device: device, Metric: "m", Time: int64(i + 1), Value: reading.Float(v)})
	}
	r.acceptAll(rs...)
}

func (r *running) acceptAll(rs ...reading.Reading) {
	r.t.Helper()
	receipt, err := r.Accept(r.t.Context(), rs)
	if err == nil {
		err = receipt.Wait(r.t.Context())
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// noise is a reading whose text of n bytes does not compress.
func noise(device string, seed, n int) reading.Reading {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(b)
	return reading.Reading{Device: device, Metric: "raw", Time: int64(seed + 1), Value: reading.Bytes(string(b))}
}

func (r *running) next(c *Cursor, limit int) []wire.Block {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	bs, err := c.Next(ctx, reading.AllLanes, limit)
	if err != nil {
		r.t.Fatalf("next: %v", err)
	}
	return bs
}

// expect checks that the cursor hands out exactly the values, and no more.
func (r *running) expect(cursor string, want ...float64) {
	r.t.Helper()
	if got := r.drain(cursor); fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("%s got %v, want %v", cursor, got, want)
	}
}

// drain returns the values of all readings there are, but for gaps.
func (r *running) drain(cursor string) []float64 {
	r.t.Helper()
	var got []float64
	c := r.Cursor(cursor)
	for {
		ended, cancel := context.WithCancel(context.Background())
		cancel() // Next looks before it waits
		bs, err := c.Next(ended, reading.AllLanes, 1<<20)
		if err != nil {
			return got
		}
		for _, b := range bs {
			for _, rd := range decode(r.t, b) {
				if rd.Device != GapDevice {
					got = append(got, rd.Value.Float())
				}
			}
		}
	}
}

func decode(t *testing.T, b wire.Block) []reading.Reading { return decodeBlock(t, b) }

func numberText(n uint64) string { return strconv.FormatUint(n, 10) }

func decodeBlock(t rapid.TB, b wire.Block) []reading.Reading {
	t.Helper()
	rs, err := wire.NewDecoder().Decode(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func (r *running) eventually(ok func() bool) {
	r.t.Helper()
	deadline := time.After(time.Minute) // in an emulator, too
	for !ok() {
		select {
		case <-deadline:
			r.t.Fatal("it did not come")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return files
}
