package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestWhoIsHastyIsFound: of five tests, the one that relies on time fails, and it is kept
// what it said, and where it slept.
func TestWhoIsHastyIsFound(t *testing.T) {
	needRace(t)
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("LEFT", filepath.Join(t.TempDir(), "pid"))
	t.Chdir("testdata/hasty")
	var out bytes.Buffer
	p := plan{share: 1000, tests: "^Test", atOnce: 2, packages: []string{"."}}
	if err := p.check("7-8"); err != nil {
		t.Fatal(err)
	}
	if err := p.run(t.Context(), &out); err == nil || err.Error() != "2 of 10 runs failed" {
		t.Errorf("%v, want 2 of 10", err)
	}
	found := regexp.MustCompile(`(?m)^hasty TestHasty, seed ([78]): exit status 1: (.*)$`).FindAllStringSubmatch(out.String(), -1)
	if len(found) != 2 {
		t.Fatalf("printed %q", out.String())
	}
	for _, f := range found {
		holds(t, f[2], `hasty_test.go:13: it took long`) // its true place
		holds(t, f[2]+".sleeps", `example\.org/hasty/hasty_test\.go:10 \d+ms`)
		holds(t, f[2]+".sleeps", `example\.org/hasty/hasty\.go:\d+ \d+ms`)
	}
	if left, _ := filepath.Glob(filepath.Dir(found[0][2]) + "/*Patient*"); left != nil {
		t.Errorf("kept of one that passed: %q", left)
	}
	pid, err := os.ReadFile(os.Getenv("LEFT"))
	if err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(time.Minute); ; runtime.Gosched() { // killed is not yet ended
		if running, _ := os.ReadFile("/proc/" + string(pid) + "/cmdline"); len(running) == 0 {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("process %s, which a test has left behind, goes on", pid)
		}
	}
}

// TestNamedLibrariesStutterToo: one that is named sleeps, another one does not.
func TestNamedLibrariesStutterToo(t *testing.T) {
	needRace(t)
	t.Setenv("TMPDIR", t.TempDir())
	t.Chdir("testdata/hasty")
	for _, libraries := range [][]string{nil, {"example.org/idle"}} {
		var out bytes.Buffer
		p := plan{first: 7, last: 7, share: 1000, tests: "^TestHasty$", atOnce: 1, packages: []string{"."}, libraries: libraries}
		if err := p.run(t.Context(), &out); err == nil || err.Error() != "1 of 1 runs failed" {
			t.Fatalf("%v: %s", err, out.String())
		}
		logs, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*", "*.sleeps"))
		if len(logs) != 1 {
			t.Fatalf("logs: %q", logs)
		}
		text, err := os.ReadFile(logs[0])
		if slept := bytes.Contains(text, []byte("example.org/idle/idle.go:6 ")); err != nil || slept != (libraries != nil) {
			t.Errorf("libraries %q: %v, %s", libraries, err, text)
		}
		if err := os.RemoveAll(filepath.Dir(logs[0])); err != nil {
			t.Fatal(err)
		}
	}
}

func needRace(t *testing.T) {
	t.Helper()
	if cc, err := exec.Command("go", "env", "CC").Output(); err != nil || exec.Command("which", strings.TrimSpace(string(cc))).Run() != nil {
		t.Skip("no C compiler, no race detector: apt-get install gcc")
	}
}

func holds(t *testing.T, file, want string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil || !regexp.MustCompile(want).Match(text) {
		t.Errorf("%s: %q, %v; want %q in it", file, text, err, want)
	}
}

func TestWhatStuttersIsSaidAsItIs(t *testing.T) {
	var s sites
	src := "package p\n\nfunc f(c chan int) {\nagain:\n\tfor {\n\t\tselect {\n\t\tcase <-c:\n\t\t\tbreak again\n\t\t}\n\t}\n}\n\nfunc BenchmarkF() { f(nil) }\n"
	got, err := s.rewrite("a/p.go", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("\t\tselect", "\t\tstutterAt(0); select", "break again", "stutterAt(1); break again").Replace(src)
	if string(got) != want || strings.Join(s, " ") != "p.go:6 p.go:8" {
		t.Errorf("%s\n%q", got, s)
	}
}

func TestWrongPlansAreRefused(t *testing.T) {
	for _, p := range []plan{
		{share: 0, atOnce: 1, packages: []string{"."}},
		{share: 1, atOnce: 0, packages: []string{"."}},
		{share: 1, atOnce: 1},
		{share: 1, atOnce: 1, packages: []string{"."}, tests: "("},
	} {
		if p.check("1-3") == nil {
			t.Errorf("%+v is taken", p)
		}
	}
	for _, seeds := range []string{"", "x", "3-1", "0"} {
		p := plan{share: 1, atOnce: 1, packages: []string{"."}}
		if p.check(seeds) == nil {
			t.Errorf("seeds %q are taken", seeds)
		}
	}
}

func TestNothingIsLeftOfWhatCannotBeBuilt(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Chdir("testdata/hasty")
	p := plan{first: 1, last: 1, share: 1, tests: "^Test", atOnce: 1, packages: []string{"./nowhere"}}
	if err := p.run(t.Context(), new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("%v", err)
	}
	p.packages, p.libraries = []string{"."}, []string{"example.org/unknown"}
	if err := p.run(t.Context(), new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "library example.org/unknown") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
