package fileout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/uplink"
)

// TestTornTailsAreCutOff is the table of what a kill or a power cut may leave: the
// bytes of a file, and the records that are read from it after the next message.
func TestTornTailsAreCutOff(t *testing.T) {
	one, two, three := packed(t, 1, 50).Body, packed(t, 2, 50).Body, packed(t, 3, 50).Body
	rotten := slices.Clone(one)
	rotten[20] ^= 1
	for _, c := range []struct {
		name, end string
		bytes     string
		want      string // of the same file, before what is new
		finished  bool   // nothing is added to it any more
	}{
		{"NothingWasWritten", "ndjson", "", "", false},
		{"HalfOfTheFirstLine", "ndjson", `{"n":1`, "", false},
		{"WholeLines", "ndjson", "{\"n\":1}\n{\"n\":2}\n", "{\"n\":1}\n{\"n\":2}\n", false},
		{"HalfALine", "ndjson", "{\"n\":1}\n{\"n\":", "{\"n\":1}\n", false},
		{"ALineWithoutItsEnd", "ndjson", "{\"n\":1}\n{\"n\":2}", "{\"n\":1}\n", false},
		{"Zeros", "ndjson", "{\"n\":1}\n" + strings.Repeat("\x00", 5000), "{\"n\":1}\n", false},
		{"ZerosWithALineEnd", "ndjson", "{\"n\":1}\n\x00\x00\x00\n\x00", "{\"n\":1}\n", false},
		{"ZerosInTheMiddle", "ndjson", "{\"n\":1}\n\x00\x00\n{\"n\":2}\n{", "{\"n\":1}\n\x00\x00\n{\"n\":2}\n", true},
		{"ABitInTheMiddle", "ndjson", "{\"n\":1}\n{\"n\"z2}\n{\"n\":3}\n", "{\"n\":1}\n{\"n\"z2}\n{\"n\":3}\n", true},
		{"HalfALineOfText", "txt", "m v=1 1\nm v=2", "m v=1 1\n", false},
		{"ZerosInText", "txt", "m v=1 1\n\x00\x00\n", "m v=1 1\n", false},
		{"WholeChunks", "chunks", string(one) + string(two), string(one) + string(two), false},
		{"HalfAChunk", "chunks", string(one) + string(two[:len(two)-1]), string(one), false},
		{"HalfAPrefix", "chunks", string(one) + string(two[:7]), string(one), false},
		{"ZerosBehindAChunk", "chunks", string(one) + strings.Repeat("\x00", 70_000), string(one), false},
		{"AChunkOfZeros", "chunks", string(one) + string(two[:12]) + strings.Repeat("\x00", len(two)-12), string(one), false},
		{"ARottenChunk", "chunks", string(rotten) + string(two) + string(three[:9]), string(rotten) + string(two), true},
		{"OnlyARottenChunk", "chunks", string(rotten), "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			part := filepath.Join(dir, "north-"+time.Now().UTC().Format(stampForm)+"-000007."+c.end+partEnd)
			if err := os.WriteFile(part, []byte(c.bytes), 0o600); err != nil {
				t.Fatal(err)
			}
			m := packed(t, 9, 5)
			if c.end != "chunks" {
				m.ContentType, m.Body = map[string]string{"ndjson": "application/x-ndjson", "txt": "text/plain"}[c.end], []byte("9\n")
			}
			send(t, newSink(t, Config{Dir: dir}), m)
			want := map[string]string{"north-T-000007." + c.end + partEnd: c.want + string(m.Body)}
			if c.finished || c.want == "" {
				want = map[string]string{"north-T-000008." + c.end + partEnd: string(m.Body)}
			}
			if c.finished {
				want["north-T-000007."+c.end] = c.want
			}
			checkFiles(t, dir, want)
		})
	}
}

func checkFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	short := names(t, dir)
	if len(list) != len(want) {
		t.Errorf("files %q, want %d", short, len(want))
	}
	for i, d := range list {
		text, err := os.ReadFile(filepath.Join(dir, d.Name()))
		if expected, ok := want[short[i]]; err != nil || !ok || string(text) != expected {
			t.Errorf("%s holds %.200q, want %.200q (%v)", short[i], text, expected, err)
		}
	}
}

// A kill while a finished file is being compressed leaves both, or the beginning of
// one.
func TestCompressingCanBeInterrupted(t *testing.T) {
	dir := t.TempDir()
	stamp := time.Now().UTC().Format(stampForm)
	for name, text := range map[string]string{
		"north-" + stamp + "-000001.ndjson.part":    "{\"n\":1}\n", // compressed already
		"north-" + stamp + "-000001.ndjson.zst":     "whole",
		"north-" + stamp + "-000002.ndjson.part":    "{\"n\":2}\n", // compressing
		"north-" + stamp + "-000002.ndjson.zst.tmp": "half",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	send(t, newSink(t, Config{Dir: dir}), document(3, 1))
	checkFiles(t, dir, map[string]string{
		"north-T-000001.ndjson.zst":  "whole",
		"north-T-000002.ndjson.part": "{\"n\":2}\n" + string(document(3, 1).Body) + "\n",
	})
}

// breaking is a file whose writes, syncs or truncations fail.
type breaking struct {
	handle
	write, sync, truncate error
	half                  bool // half of a failing write arrives
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.write == nil {
		return b.handle.Write(p)
	}
	n := 0
	if b.half {
		n, _ = b.handle.Write(p[:len(p)/2])
	}
	return n, b.write
}

func (b *breaking) Sync() error {
	return errors.Join(b.sync, b.handle.Sync())
}

func (b *breaking) Truncate(size int64) error {
	if b.truncate != nil {
		return b.truncate
	}
	return b.handle.Truncate(size)
}

// TestFaultsOfTheDisk is the table of what may fail: the class of the error, and
// the files after the next message, when all is well again. Message 1 was acknowledged
// before, 2 fails, and 3 comes after.
func TestFaultsOfTheDisk(t *testing.T) {
	first, third := string(document(1, 1).Body)+"\n", string(document(3, 1).Body)+"\n"
	same := map[string]string{"north-T-000001.ndjson.part": first + third}
	another := map[string]string{"north-T-000001.ndjson": first, "north-T-000002.ndjson.part": third}
	for _, c := range []struct {
		name  string
		open  error // instead of a file
		file  breaking
		disk  disk
		delay time.Duration // 0: transient
		hint  string
		want  map[string]string
	}{
		{name: "Full", file: breaking{write: syscall.ENOSPC, half: true}, delay: uplink.ConfigDelay, hint: "disk is full", want: same},
		{name: "FullAndStuck", file: breaking{write: syscall.ENOSPC, half: true, truncate: syscall.EIO}, delay: uplink.ConfigDelay, hint: "disk is full", want: another},
		{name: "Quota", file: breaking{write: syscall.EDQUOT}, delay: uplink.ConfigDelay, hint: "disk is full", want: same},
		{name: "WriteFails", file: breaking{write: syscall.EIO, half: true}, hint: "bad, or was pulled out", want: same},
		{name: "SyncFails", file: breaking{sync: syscall.EIO}, hint: "bad, or was pulled out", want: another},
		{name: "SyncFailsAndNothingElseWorks", file: breaking{sync: syscall.EIO, truncate: syscall.EIO}, hint: "bad, or was pulled out", want: another},
		{name: "ReadOnly", open: syscall.EROFS, delay: uplink.ConfigDelay, hint: "read-only", want: same},
		{name: "NotAllowed", open: syscall.EACCES, delay: uplink.ConfigDelay, hint: "chown", want: same},
		{name: "TooLargeForTheFileSystem", file: breaking{write: syscall.EFBIG}, delay: uplink.ConfigDelay, hint: "max_size", want: same},
		{name: "PulledOut", open: syscall.ENXIO, hint: "pulled out", want: same},
		{name: "NotMounted", disk: disk{mounted: func(string) (bool, error) { return false, nil }}, delay: stickDelay, hint: "put the stick back", want: same},
		{name: "FolderGone", disk: disk{mounted: func(string) (bool, error) { return false, syscall.ENOENT }}, delay: stickDelay, hint: "is the disk mounted", want: same},
		{name: "LittleFree", disk: disk{free: func(string) (int64, error) { return 1100, nil }}, delay: uplink.ConfigDelay, hint: "min_free", want: same},
		{name: "FolderSyncFails", disk: disk{syncFolder: func(string) error { return syscall.EIO }}, want: same}, // no new file: no need for it
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSink(t, Config{MinFree: 1000, Reserved: func(string) int64 { return 200 }, Mount: "/"})
			send(t, s, document(1, 1))
			healthy := s.disk
			s.disk = broken(healthy, c.open, c.file, c.disk)
			err := s.Send(t.Context(), document(2, 1))
			delay, _ := uplink.RetryDelay(err)
			if c.hint == "" && err != nil || c.hint != "" && (err == nil || uplink.IsPermanent(err) || delay != c.delay || !strings.Contains(err.Error(), c.hint)) {
				t.Errorf("got %v, delay %v; want %v and %q", err, delay, c.delay, c.hint)
			}
			s.disk = healthy
			send(t, s, document(3, 1))
			if c.hint == "" {
				c.want = map[string]string{"north-T-000001.ndjson.part": first + string(document(2, 1).Body) + "\n" + third}
			}
			checkFiles(t, s.cfg.Dir, c.want)
		})
	}
}

// broken is the disk with what fails of it.
func broken(d disk, open error, file breaking, other disk) disk {
	whole := d.open
	d.open = func(path string, fresh bool) (handle, error) {
		if open != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: open}
		}
		h, err := whole(path, fresh)
		b := file
		b.handle = h
		return &b, err
	}
	if other.mounted != nil {
		d.mounted = other.mounted
	}
	if other.free != nil {
		d.free = other.free
	}
	if other.syncFolder != nil {
		d.syncFolder = other.syncFolder
	}
	return d
}

// What fails in a file that nobody has anything in leaves no file, so that a disk
// that fails for days is not filled with empty ones.
func TestFailingDiskIsNotFilledWithFiles(t *testing.T) {
	for _, file := range []breaking{{write: syscall.ENOSPC, half: true}, {sync: syscall.EIO}, {write: syscall.EIO, truncate: syscall.EIO}} {
		s := newSink(t, Config{})
		healthy := s.disk
		s.disk = broken(healthy, nil, file, disk{})
		for n := range 20 {
			if err := s.Send(t.Context(), document(n, 1)); err == nil {
				t.Error("Send returned nil")
			}
		}
		if got := names(t, s.cfg.Dir); len(got) > 0 {
			t.Errorf("files %q", got)
		}
		s.disk = broken(healthy, nil, breaking{}, disk{syncFolder: func(string) error { return syscall.EIO }})
		if err := s.Send(t.Context(), document(1, 1)); err == nil {
			t.Error("a file whose name may be lost was acknowledged")
		}
	}
}

// Somebody moves, removes, lengthens or replaces the file that is being written.
func TestOthersAreNotTrusted(t *testing.T) {
	for name, meddle := range map[string]func(path string) error{
		"Removed": os.Remove,
		"Moved":   func(path string) error { return os.Rename(path, path+"x") },
		"Longer": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				_, err = f.WriteString("mine")
			}
			return errors.Join(err, f.Close())
		},
		"Shorter": func(path string) error { return os.Truncate(path, 3) },
		"ALink": func(path string) error {
			return errors.Join(os.Rename(path, path+"x"), os.Symlink(path+"x", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSink(t, Config{})
			send(t, s, document(1, 1))
			if err := meddle(s.file.path); err != nil {
				t.Fatal(err)
			}
			err := s.Send(t.Context(), document(2, 1))
			if err == nil || uplink.IsPermanent(err) || !strings.Contains(err.Error(), "hint: ") {
				t.Errorf("got %v", err)
			}
			send(t, s, document(2, 1))
			if !strings.Contains(content(t, s.cfg.Dir), string(document(2, 1).Body)) {
				t.Error("what was acknowledged is not there")
			}
		})
	}
	// And in the very moment of the sync.
	s := newSink(t, Config{})
	send(t, s, document(1, 1))
	whole := s.disk.open
	s.disk.open = func(path string, fresh bool) (handle, error) {
		h, err := whole(path, fresh)
		return removing{h, path}, err
	}
	if err := s.Send(t.Context(), document(2, 1)); err == nil {
		t.Error("a file that is gone was acknowledged")
	}
}

// removing is a file that somebody removes while it is synced.
type removing struct {
	handle
	path string
}

func (r removing) Sync() error { return errors.Join(os.Remove(r.path), r.handle.Sync()) }

func TestHintsForWhatIsNotKnown(t *testing.T) {
	err := errors.New("whatever")
	if got := judge(err); got != err || judge(nil) != nil {
		t.Errorf("%v", got)
	}
	if hinted := fmt.Errorf("%w — hint: known already", syscall.EIO); judge(hinted) != hinted {
		t.Error("a second hint")
	}
}
