package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func config(path string) Config {
	return Config{Identifier: "tidegate", Prefix: "TIDEGATE_", Socket: path}
}

func TestARecordIsAnEntryOfFields(t *testing.T) {
	j := listen(t)
	log := slog.New(New(config(j.path)))
	log.With("source", "mqtt").WithGroup("peer").Warn("mqtt client may not connect",
		"err", errors.New("wrong — hint: ask"), "remote-addr", "10.0.0.7:1024", "n", 3, "in", 1500*time.Millisecond,
		"at", time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), slog.Group("tls", "version", 1.5), "said", "two words", "stack", "a()\nb()", "_PID", 1, "äh", []byte("x"))
	want := []field{
		{"PRIORITY", "4"},
		{"SYSLOG_IDENTIFIER", "tidegate"},
		{"MESSAGE", `mqtt client may not connect: wrong — hint: ask (source=mqtt, peer.remote-addr=10.0.0.7:1024, peer.n=3, peer.in=1.5s, ` +
			`peer.at=2026-01-02T03:04:05.000000006Z, peer.tls.version=1.5, peer.said="two words", peer._PID=1, peer.äh=x)`},
		{"TIDEGATE_SOURCE", "mqtt"},
		{"TIDEGATE_PEER_ERR", "wrong — hint: ask"},
		{"TIDEGATE_PEER_REMOTE_ADDR", "10.0.0.7:1024"},
		{"TIDEGATE_PEER_N", "3"},
		{"TIDEGATE_PEER_IN", "1.5s"},
		{"TIDEGATE_PEER_AT", "2026-01-02T03:04:05.000000006Z"},
		{"TIDEGATE_PEER_TLS_VERSION", "1.5"},
		{"TIDEGATE_PEER_SAID", "two words"},
		{"TIDEGATE_PEER_STACK", "a()\nb()"},
		{"TIDEGATE_PEER__PID", "1"},
		{"TIDEGATE_PEER___H", "x"},
	}
	if got := j.next(); !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	log.Info("and nothing of that is left", "n", 1)
	if got := j.next(); len(got) != 4 || got[2].value != "and nothing of that is left (n=1)" {
		t.Errorf("got %q", got)
	}
}

func TestLevelsArePriorities(t *testing.T) {
	j := listen(t)
	c := config(j.path)
	c.Level = slog.LevelDebug
	log := slog.New(New(c))
	for level, want := range map[slog.Level]string{
		slog.LevelDebug: "7", slog.LevelInfo - 1: "7", slog.LevelInfo: "6", slog.LevelInfo + 2: "5", slog.LevelWarn: "4", slog.LevelError: "3", slog.LevelError + 4: "2",
	} {
		log.Log(context.Background(), level, "x")
		if got := j.next(); got[0] != (field{"PRIORITY", want}) {
			t.Errorf("%v is %q", level, got[0])
		}
	}
	if New(config(j.path)).Enabled(context.Background(), slog.LevelDebug) {
		t.Error("debug is written although nobody asked for it")
	}
}

func TestNoTextPassesForAnotherRecord(t *testing.T) {
	j := listen(t)
	log := slog.New(New(config(j.path)))
	log.Warn("no\nPRIORITY=0", "client", "a\nMESSAGE=forged\n", "user", "\x1b[2J\xff", "err", errors.Join(errors.New("one\x07"), errors.New("  two")))
	got := j.next()
	want := []field{
		{"PRIORITY", "4"}, {"SYSLOG_IDENTIFIER", "tidegate"},
		{"MESSAGE", `no; PRIORITY=0: one\a; two (user="\x1b[2J\xff")`},
		{"TIDEGATE_CLIENT", "a\nMESSAGE=forged\n"}, {"TIDEGATE_USER", "\x1b[2J\xff"}, {"TIDEGATE_ERR", "one\x07\n  two"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestALongEntryComesInASealedFile(t *testing.T) {
	j := listen(t)
	log := slog.New(New(config(j.path)))
	var attrs []any
	for i := range 2 * mostFields {
		attrs = append(attrs, fmt.Sprintf("key%d", i), strings.Repeat("ä", longest/2)+"and more")
	}
	log.Info("long", attrs...)
	got := j.next()
	if j.files != 1 {
		t.Errorf("%d files came", j.files)
	}
	if len(got) != 3+mostFields+1 {
		t.Fatalf("%d fields came", len(got))
	}
	if want := strings.Repeat("ä", longest/2) + "… (8 bytes more)"; got[3] != (field{"TIDEGATE_KEY0", want}) {
		t.Errorf("got %.100q", got[3])
	}
	if last := got[len(got)-1]; last != (field{"TIDEGATE_FIELDS_LEFT_OUT", fmt.Sprint(mostFields)}) {
		t.Errorf("got %.100q", last)
	}
	log.Info("short")
	if got := j.next(); len(got) != 3 || j.files != 1 {
		t.Errorf("got %q, %d files", got, j.files)
	}
}

// TestWhatTheJournalDoesNotTakeIsALine has a journal that is not there, then is, then is
// full, then reads again.
func TestWhatTheJournalDoesNotTakeIsALine(t *testing.T) {
	var lines bytes.Buffer
	c := config(t.TempDir() + "/nowhere")
	c.Fallback = &lines
	h := New(c)
	log := slog.New(h)
	log.Error("broken\nor not", "n", 1)
	if got := lines.String(); got != "<3>broken; or not (n=1)\n" {
		t.Errorf("got %q", got)
	}

	j := listen(t)
	h.socket = j.path
	log.Info("there again")
	if got := j.next(); got[2].value != "there again" {
		t.Errorf("got %q", got)
	}
	lines.Reset()
	sent := 0
	for ; lines.Len() == 0; sent++ { // its queue has an end
		log.Info("flood", "n", sent)
	}
	if got := lines.String(); got != fmt.Sprintf("<6>flood (n=%d)\n", sent-1) {
		t.Errorf("got %q", got)
	}
	for i := range sent - 1 {
		if got := values(j.next(), "TIDEGATE_N"); !slices.Equal(got, []string{fmt.Sprint(i)}) {
			t.Fatalf("%d came as %q", i, got)
		}
	}
}

type refusing struct{ bool }

func (r *refusing) Write(p []byte) (int, error) {
	if r.bool {
		return 0, unix.EAGAIN
	}
	return len(p), nil
}

func TestLinesThatNobodyTookAreCounted(t *testing.T) {
	c, fallback := config(t.TempDir()+"/nowhere"), &refusing{true}
	c.Fallback = fallback
	h := New(c)
	log := slog.New(h)
	for range 3 {
		log.Info("lost")
	}
	j := listen(t)
	h.socket = j.path
	for i, want := range [][]string{{"3"}, nil} {
		log.Info("said")
		if got := values(j.next(), "TIDEGATE_LINES_LOST"); !slices.Equal(got, want) {
			t.Errorf("entry %d says %q", i, got)
		}
	}
}

func TestAStreamThatNobodyReadsHoldsNobodyUp(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	reader := os.NewFile(uintptr(fds[1]), "reader")
	s := &Stream{FD: fds[0]}
	defer unix.Close(s.FD)
	line := []byte(strings.Repeat("x", 4000) + "\n")
	whole := 0
	for ; err == nil; _, err = s.Write(line) {
		whole++
	}
	if whole < 10 || !errors.Is(err, unix.EAGAIN) && err.Error() != "short write" {
		t.Errorf("after %d lines: %v", whole, err)
	}
	reader.Close()
	if _, err := s.Write(line); !errors.Is(err, unix.EPIPE) {
		t.Errorf("nobody is there, and that is %v", err) // and not the end by SIGPIPE
	}
}

func TestACutLineEndsBeforeTheNext(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	s := &Stream{FD: fds[0], torn: true}
	if n, err := s.Write([]byte("next\n")); n != 5 || err != nil {
		t.Error(n, err)
	}
	b := make([]byte, 10)
	if n, err := unix.Read(fds[1], b); string(b[:n]) != "\nnext\n" {
		t.Errorf("got %q: %v", b[:n], err)
	}
}

func TestTheStreamIsToldByItsInode(t *testing.T) {
	file, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var is unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &is); err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[string]bool{
		fmt.Sprintf("%d:%d", is.Dev, is.Ino): true, fmt.Sprintf("%d:%d", is.Dev, is.Ino+1): false, fmt.Sprintf("%d:%d", is.Dev+1, is.Ino): false,
		"": false, ":": false, "1": false, fmt.Sprintf("%d:%dx", is.Dev, is.Ino): false,
	} {
		if got := isStream(int(file.Fd()), stream); got != want {
			t.Errorf("%q is %v", stream, got)
		}
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", is.Dev, is.Ino))
	if !IsStream(int(file.Fd())) || IsStream(1<<20) {
		t.Error("the environment is not asked")
	}
}

func FuzzEntry(f *testing.F) {
	f.Add("text", "key", "value", "group", int64(4))
	f.Add("a\nb", "_HOST=NAME\n", "two\nlines\n", "", int64(-4))
	f.Add("", "=", strings.Repeat("x", longest+1), "\xff", int64(8))
	f.Fuzz(func(t *testing.T, text, key, value, group string, level int64) {
		h := New(Config{Identifier: "tidegate", Prefix: "TIDEGATE_"})
		var e entry
		e.add(h.prefix, h.group, slog.String(key, value))
		e.add(h.prefix, h.group, slog.Group(group, slog.String(key, value), slog.Int64("level", level)))
		message := e.sentence(text)
		got, err := decode(appendField(slices.Clone(e.fields), "MESSAGE", message))
		if err != nil {
			t.Fatal(err)
		}
		want := 4
		if key == "" {
			want = 2
		}
		if len(got) != want || strings.Contains(message, "\n") {
			t.Fatalf("%d fields: %q", len(got), got)
		}
		if key != "" {
			for _, f := range got[:2] {
				if cut, is := strings.CutSuffix(f.value, "more)"); f.value != value && (!is || len(value) <= longest || !strings.HasPrefix(value, cut[:longest-4])) {
					t.Errorf("%q came as %q", value, f.value)
				}
			}
		}
		if f := got[want-2]; f.value != fmt.Sprint(level) {
			t.Errorf("%d came as %q", level, f.value)
		}
		if most := 3*len(text) + 6*(longest+2*longestAt); len(message) > 4*len(text)+most {
			t.Errorf("%d bytes of text became %d", len(text), len(message))
		}
	})
}

func BenchmarkHandle(b *testing.B) {
	discard := New(Config{Identifier: "tidegate", Prefix: "TIDEGATE_", Socket: b.TempDir() + "/nowhere"})
	log := slog.New(discard).With("source", "mqtt")
	b.ReportAllocs()
	for b.Loop() {
		log.Warn("mqtt client may not connect", "remote", "10.0.0.7:1024", "client", "sensor-7", "user", "sensor")
	}
}
