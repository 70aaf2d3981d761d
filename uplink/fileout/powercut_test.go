package fileout

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tidegate/tidegate/wire"
)

var powercuts = flag.Int("powercuts", 200, "how many power cuts TestPowerCutsLoseNothingAcked makes")

// fragile is a disk whose power may be cut: what was not synced is then what the
// dice say. Now and then it fails, and from some moment on it does nothing.
type fragile struct {
	t   *testing.T
	dir string

	mu     sync.Mutex
	rng    *rand.Rand
	life   int               // calls until nothing works any more
	synced map[uint64][]byte // what files are known to hold, by inode
	names  map[string]uint64 // what the folder is known to hold
}

var errDead = errors.New("no power")

// call says whether a call works.
func (f *fragile) call() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.life--
	switch {
	case f.life < 0:
		return errDead
	case f.rng.IntN(40) == 0:
		return []error{syscall.EIO, syscall.ENOSPC}[f.rng.IntN(2)]
	}
	return nil
}

func (f *fragile) disk() disk {
	d := realDisk()
	d.open = func(path string, fresh bool) (handle, error) {
		if err := f.call(); err != nil {
			return nil, err
		}
		h, err := openFile(path, fresh)
		if err != nil {
			return nil, err
		}
		return &fragileFile{h, f, path}, nil
	}
	d.syncFolder = func(dir string) error {
		if err := f.call(); err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.names = f.inodes()
		return nil
	}
	return d
}

// inodes are those of the folder's files. A listing may miss a file that is renamed
// meanwhile, so it is the one that two say.
func (f *fragile) inodes() map[string]uint64 {
	for all := f.list(); ; {
		again := f.list()
		if maps.Equal(all, again) {
			return all
		}
		all = again
	}
}

func (f *fragile) list() map[string]uint64 {
	all := map[string]uint64{}
	list, err := os.ReadDir(f.dir)
	if err != nil {
		f.t.Error(err)
	}
	for _, d := range list {
		if info, err := d.Info(); err == nil {
			all[d.Name()] = info.Sys().(*syscall.Stat_t).Ino
		}
	}
	return all
}

type fragileFile struct {
	handle
	f    *fragile
	path string
}

func (h *fragileFile) Write(p []byte) (int, error) {
	if err := h.f.call(); err != nil {
		n, _ := h.handle.Write(p[:len(p)/2])
		return n, err
	}
	return h.handle.Write(p)
}

func (h *fragileFile) Truncate(size int64) error {
	if err := h.f.call(); err != nil {
		return err
	}
	return h.handle.Truncate(size)
}

func (h *fragileFile) Sync() error {
	if err := h.f.call(); err != nil {
		return err
	}
	text, err := os.ReadFile(h.path)
	info, err2 := os.Stat(h.path)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	h.f.synced[info.Sys().(*syscall.Stat_t).Ino] = text
	return nil
}

// cut throws away, half of the time, what was not synced, or makes something else
// of it: of names, and of the bytes behind those that were.
func (f *fragile) cut() {
	now := f.inodes()
	for name, inode := range now {
		if _, known := f.names[name]; known || f.rng.IntN(2) == 0 {
			continue
		}
		before := ""
		for old, i := range f.names {
			if i == inode && now[old] == 0 {
				before = old
			}
		}
		var err error
		if before != "" {
			err = os.Rename(filepath.Join(f.dir, name), filepath.Join(f.dir, before))
		} else {
			err = os.Remove(filepath.Join(f.dir, name))
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
	for name, inode := range f.inodes() {
		path := filepath.Join(f.dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			f.t.Fatal(err)
		}
		known := f.synced[inode]
		if !bytes.HasPrefix(text, known) { // a truncation that was not synced
			continue
		}
		rest := text[len(known):]
		switch f.rng.IntN(4) {
		case 0:
			rest = nil
		case 1:
			rest = rest[:f.rng.IntN(len(rest)+1)]
		case 2:
			clear(rest)
		}
		if err := os.WriteFile(path, append(slices.Clone(known), rest...), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
	f.names = f.inodes()
	for name, inode := range f.names {
		f.synced[inode], _ = os.ReadFile(filepath.Join(f.dir, name))
	}
}

// Whatever fails and whenever the power is cut, what was acknowledged is in whole
// records of the files.
func TestPowerCutsLoseNothingAcked(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	sent, lost := 0, 0
	for range max(1, *powercuts/10) {
		cfg := Config{Dir: inMemory(t), MaxSize: 400, Compress: Compression(rng.IntN(3))}
		asChunks := rng.IntN(2) == 0
		f := &fragile{t: t, dir: cfg.Dir, rng: rng, synced: map[uint64][]byte{}, names: map[string]uint64{}}
		acked := map[int]bool{}
		for cuts := range 10 {
			f.mu.Lock()
			f.life = rng.IntN(200)
			f.mu.Unlock()
			s := newSink(t, cfg)
			s.disk = f.disk()
			var tasks sync.WaitGroup
			var mu sync.Mutex
			for sender := range 3 {
				tasks.Go(func() {
					for i := range 12 {
						n := cuts*100 + sender*20 + i
						m := document(n, n%90)
						if asChunks {
							m = packed(t, n+1, n%90)
						}
						err := s.Send(t.Context(), m)
						mu.Lock()
						if acked[n] = err == nil; err != nil {
							lost++
						}
						sent++
						mu.Unlock()
					}
				})
			}
			tasks.Wait()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			f.cut()
			found := recordsIn(t, cfg.Dir)
			for n, ok := range acked {
				if ok && !found[n] {
					t.Fatalf("seed %d, cut %d: %d was acknowledged and is not in %q", seed, cuts, n, names(t, cfg.Dir))
				}
			}
		}
	}
	t.Logf("%d messages, %d of them not acknowledged", sent, lost)
	if lost == 0 || lost == sent {
		t.Error("the dice were not thrown")
	}
}

// inMemory is a folder without a disk, where there is one: the test has dice for
// that, and needs no patience.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "tidegate-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// recordsIn returns the numbers of the whole records in the folder's files.
func recordsIn(t *testing.T, dir string) map[int]bool {
	t.Helper()
	found := map[int]bool{}
	list, err := filepath.Glob(filepath.Join(dir, "north-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		if strings.HasSuffix(path, tmpEnd) {
			continue
		}
		text := inflated(t, path)
		for line := range bytes.Lines(text) {
			var doc struct{ N *int }
			if json.Unmarshal(line, &doc) == nil && doc.N != nil {
				found[*doc.N] = true
			}
		}
		for at := 0; at < len(text); at++ {
			if n, ok, _ := wholeChunk(bytes.NewReader(text), int64(at), int64(len(text))); ok {
				c, err := wire.ParseChunk(text[at : at+int(n)])
				if err != nil {
					t.Error(err)
				}
				found[int(c.First())-1] = true
				at += int(n) - 1
			}
		}
	}
	return found
}

func inflated(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r io.Reader = bytes.NewReader(text)
	switch {
	case strings.HasSuffix(path, ".gz"):
		r, err = gzip.NewReader(r)
	case strings.HasSuffix(path, ".zst"):
		r, err = zstd.NewReader(r)
	default:
		return text
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if text, err = io.ReadAll(r); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return text
}

func TestFinishedFilesAreCompressed(t *testing.T) {
	for compress, end := range map[Compression]string{Gzip: ".gz", Zstd: ".zst"} {
		s := newSink(t, Config{MaxSize: 10_000, Compress: compress, Keep: 2})
		for n := range 60 {
			send(t, s, document(n, 1000))
		}
		var want []string
		for n := 5; n <= 6; n++ {
			want = append(want, fmt.Sprintf("north-T-%06d.ndjson%s", n-1, end))
		}
		want = append(want, "north-T-000006.ndjson.part")
		waitFor(t, func() bool { return slices.Equal(names(t, s.cfg.Dir), want) })
		first, _ := filepath.Glob(filepath.Join(s.cfg.Dir, "*000004*"))
		packed, _ := os.Stat(first[0])
		if text := inflated(t, first[0]); len(numbers(t, string(text))) != 10 || packed.Size()*5 > int64(len(text)) {
			t.Errorf("%d bytes in %d", len(text), packed.Size())
		}
	}
}

// What is compressed already is not compressed once more.
func TestPackedFilesStayAsTheyAre(t *testing.T) {
	s := newSink(t, Config{MaxSize: 1, Compress: Zstd})
	send(t, s, packed(t, 1, 1000), packed(t, 2, 1000))
	if got := names(t, s.cfg.Dir); !slices.Equal(got, []string{"north-T-000001.chunks", "north-T-000002.chunks.part"}) {
		t.Errorf("files %q", got)
	}
}

// FuzzWhole: whatever a file holds, its whole records end within it, and what is
// cut off behind them is not asked for again.
func FuzzWhole(f *testing.F) {
	chunk := packed(f, 1, 30).Body
	f.Add(byte(0), slices.Concat(chunk, chunk[:9]))
	f.Add(byte(1), []byte("{\"n\":1}\n\x00\n{"))
	f.Add(byte(2), []byte("m v=1\n\xff\n"))
	f.Fuzz(func(t *testing.T, which byte, text []byte) {
		k := []kind{chunks, jsonLines, textLines}[which%3]
		end, clean, err := k.whole(bytes.NewReader(text), int64(len(text)))
		if err != nil || end < 0 || end > int64(len(text)) {
			t.Fatalf("%d of %d, %v", end, len(text), err)
		}
		again, still, err := k.whole(bytes.NewReader(text[:end]), end)
		if again != end || still != clean || err != nil {
			t.Errorf("%d %v became %d %v, %v", end, clean, again, still, err)
		}
	})
}
