package starts

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func before() Program { return Program{Version: "0.1.0", Build: "one"} }
func after() Program  { return Program{Version: "0.2.0", Build: "two"} }

func begin(t *testing.T, dir string, p Program) *Start {
	t.Helper()
	s, err := Begin(dir, p, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// good is a start that goes well.
func good(t *testing.T, dir string, p Program) {
	t.Helper()
	if err := begin(t, dir, p).End(); err != nil {
		t.Fatal(err)
	}
}

func TestACrashLoopAfterAnUpgradeSaysSo(t *testing.T) {
	dir := t.TempDir()
	good(t, dir, before())
	for n := range Loop {
		if said := begin(t, dir, after()).Loops(); said != "" {
			t.Errorf("after %d failures it says %q", n, said)
		}
	}
	s := begin(t, dir, after())
	for _, part := range []string{"the last 3 starts", "since the upgrade from 0.1.0 (one) to 0.2.0 (two)", " — hint: go back to the package of it that was kept: \"apt install --allow-downgrades ./tidegate_0.1.0_ARCH.deb\""} {
		if said := s.Loops(); !strings.Contains(said, part) {
			t.Errorf("it says %q, and not %q", said, part)
		}
	}
	if s.Well() {
		t.Error("it is well before it has run")
	}
	if err := s.End(); err != nil || !s.Well() {
		t.Error(err)
	}
	if said := begin(t, dir, after()).Loops(); said != "" {
		t.Errorf("after a start that went well it says %q", said)
	}
}

// Somebody who plugs a gateway in and out is not told to go back to an earlier version.
func TestPowerCutsAreNoCrashLoop(t *testing.T) {
	dir := t.TempDir()
	good(t, dir, before())
	for range 2 * Loop {
		if said := begin(t, dir, after()).Loops(); said != "" {
			t.Errorf("it says %q", said)
		}
		r, err := Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		r.Boot++
		if err := write(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	for range Loop { // in one boot, it is the program
		begin(t, dir, after())
	}
	if said := begin(t, dir, after()).Loops(); said == "" {
		t.Error("a crash loop behind power cuts is not told of")
	}
}

func TestACrashLoopWithoutAnUpgradeBlamesNoUpgrade(t *testing.T) {
	for name, first := range map[string]func(*testing.T, string){
		"never ran well": func(*testing.T, string) {}, "ran well": func(t *testing.T, dir string) { good(t, dir, before()) },
	} {
		dir := t.TempDir()
		first(t, dir)
		for range Loop {
			begin(t, dir, before())
		}
		if said := begin(t, dir, before()).Loops(); !strings.Contains(said, "journalctl") || strings.Contains(said, "since") {
			t.Errorf("%s: it says %q", name, said)
		}
	}
	dir := t.TempDir()
	good(t, dir, before())
	rebuilt := Program{Version: "0.1.0", Build: "other"}
	for range Loop {
		begin(t, dir, rebuilt)
	}
	if said := begin(t, dir, rebuilt).Loops(); !strings.Contains(said, "since the program other took the place of one") {
		t.Errorf("of another build it says %q", said)
	}
}

// Failures of one program say nothing about the one that takes its place.
func TestAnotherProgramBeginsToCountAnew(t *testing.T) {
	dir := t.TempDir()
	for range Loop + 2 {
		begin(t, dir, before())
	}
	if said := begin(t, dir, after()).Loops(); said != "" {
		t.Errorf("it says %q", said)
	}
}

func TestAMinuteIsAGoodStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := begin(t, dir, before())
		s.Run()
		time.AfterFunc(Good-time.Second, func() {
			if s.Well() {
				t.Error("it is well too early")
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), Good+time.Second)
		defer cancel()
		<-ctx.Done()
		if r, err := Read(dir); err != nil || !s.Well() || r.Failed != 0 || r.Good == nil || *r.Good != before() {
			t.Errorf("%+v, %v", r, err)
		}
		cut := begin(t, dir, before())
		cut.Run()
		cut.Halt()
		ctx, cancel = context.WithTimeout(t.Context(), 2*Good)
		defer cancel()
		<-ctx.Done()
		if cut.Well() {
			t.Error("a start that ended by itself is a good one")
		}
	})
}

// At the most two writes a start: the file is another one after each.
func TestAStartWritesTwice(t *testing.T) {
	dir := t.TempDir()
	s := begin(t, dir, before())
	if err := s.End(); err != nil {
		t.Fatal(err)
	}
	is := func() os.FileInfo {
		info, err := os.Stat(filepath.Join(dir, recordFile))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	written := is()
	s.Run()
	if err := s.End(); err != nil || !os.SameFile(written, is()) {
		t.Error("it was written once more")
	}
}

func TestAStartOfARunningProgramIsNone(t *testing.T) {
	dir := t.TempDir()
	good(t, dir, before())
	want, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	begin(t, dir, after()).Withdraw()
	if r, err := Read(dir); err != nil || r.Failed != 0 || r.Last != want.Last {
		t.Errorf("%+v, %v", r, err)
	}
	empty := t.TempDir()
	begin(t, empty, after()).Withdraw()
	if _, err := os.Stat(filepath.Join(empty, recordFile)); !errors.Is(err, os.ErrNotExist) {
		t.Error("there is a record of a start that was none")
	}
}

func TestUnreadableRecordsStopNobody(t *testing.T) {
	for _, text := range []string{"", "{", "[]", "null", "\x00\x00", `{"failed":"many"}`, `{"format":1,"failed":-7}`, strings.Repeat("9", 2*maxFile)} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, recordFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, _ := Begin(dir, before(), 1)
		if s.Loops() != "" {
			t.Errorf("%q: %q", text, s.Loops())
		}
		if err := s.End(); err != nil {
			t.Error(err)
		}
		if r, err := Read(dir); err != nil || r.Last != before() {
			t.Errorf("%q: then it reads %+v, %v", text, r, err)
		}
	}
}

func TestARecordOfALaterVersionIsLeftAlone(t *testing.T) {
	const later = `{"format":2,"last":["tidegate"]}`
	for _, text := range []string{later, `{"format":2}`} {
		dir := t.TempDir()
		path := filepath.Join(dir, recordFile)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Begin(dir, before(), 1)
		if !errors.Is(err, errLater) {
			t.Errorf("begin: %v", err)
		}
		s.Run()
		s.Withdraw()
		if err := s.End(); err != nil {
			t.Error(err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != text {
			t.Errorf("it holds %q", now)
		}
	}
}

// crasher makes this test binary one that breaks down.
const crasher = "STARTS_CRASH"

func TestTheLastWordsOfAPanicAreKept(t *testing.T) {
	if dir := os.Getenv(crasher); dir != "" {
		begin(t, dir, before())
		ended := make(chan bool)
		go func() { panic("the tide went out") }()
		<-ended
	}
	dir := t.TempDir()
	for range 2 {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), crasher+"="+dir)
		if err := cmd.Run(); err == nil {
			t.Fatal("it did not break down")
		}
	}
	s := begin(t, dir, before())
	if s.Crash != "panic: the tide went out" || FirstWords(dir) != s.Crash {
		t.Errorf("it says %q, and %q", s.Crash, FirstWords(dir))
	}
	if s := begin(t, dir, before()); s.Crash != "" {
		t.Errorf("a start later it says %q", s.Crash)
	}
	if text, err := os.ReadFile(filepath.Join(dir, CrashFile)); err != nil || strings.Count(string(text), "panic: ") != 1 || !strings.Contains(string(text), "starts_test.go") {
		t.Errorf("the last one is kept, and only that: %s, %v", text, err)
	}
}

// systemd's watchdog ends a program that hangs with SIGABRT, and this is what the runtime
// says then.
func TestTheWatchdogsEndIsToldLikeAPanic(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, crashOut), []byte("SIGABRT: abort\nPC=0x47dd21 m=0 sigcode=0\n\ngoroutine 0 gp=0x5f2b40 m=0 mp=0x5f3a20 [idle]:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := begin(t, dir, before()); s.Crash != "SIGABRT: abort" {
		t.Errorf("it says %q", s.Crash)
	}
}

func TestWhatIsKeptOfACrashIsBounded(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, crashOut), []byte("fatal error: all goroutines\n"+strings.Repeat("x", 2*maxCrash)), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := begin(t, dir, before()); s.Crash != "fatal error: all goroutines" {
		t.Errorf("it says %q", s.Crash)
	}
	if info, err := os.Stat(filepath.Join(dir, CrashFile)); err != nil || info.Size() != maxCrash {
		t.Errorf("%v, %v", info, err)
	}
}

func TestLaterVersions(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"0.2.0", "0.1.0", true}, {"0.1.0", "0.1.0", false}, {"0.1.9", "0.1.10", false}, {"1.0", "0.9.9", true}, {"0.1.0.1", "0.1.0", true}, {"", "0.1.0", false}, {"x", "0.1.0", false}, {"0.1.0", "", false}} {
		if got := Later(c.a, c.b); got != c.want {
			t.Errorf("%q later than %q: %v", c.a, c.b, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{`{"format":1,"last":{"version":"0.1.0","build":"x"},"began":"2026-11-28T21:00:00Z","failed":3,"good":{"version":"0.0.9"}}`, "{}", "["} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parse(text)
		if err == nil && (r.Failed < 0 || r.Format > format) {
			t.Errorf("%q: %+v", text, r)
		}
		_ = r.Loops(r.Last)
	})
}
