package identify

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/internal/base/leaktest"
)

// journal is a log that tests wait for.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer func() { j.more <- struct{}{} }()
	return j.text.Write(b)
}

func (j *journal) said() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// start runs a Signal until the test ends.
func start(t *testing.T, cfg Config) (*Signal, *journal) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	j := &journal{more: make(chan struct{}, 16)}
	s := New(func() Config { return cfg }, slog.New(slog.NewTextHandler(j, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		leaktest.None(t, before)
	})
	return s, j
}

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "identify")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestACommandIsRunAsItStands(t *testing.T) {
	s, j := start(t, Config{Command: []string{script(t, "echo \"$1,$2,$#\"; echo problem >&2"), "a b; $(reboot)"}})
	if err := s.Show(7 * time.Second); err != nil {
		t.Fatal(err)
	}
	<-j.more
	if said := j.said(); !strings.Contains(said, `output="a b; $(reboot),7,2\nproblem"`) || !strings.Contains(said, "level=INFO") {
		t.Errorf("it said %s", said)
	}
	if s.Left() != 0 {
		t.Errorf("it is shown for %v more", s.Left())
	}
	if err := s.Show(time.Second); err != nil {
		t.Errorf("once more: %v", err)
	}
	<-j.more
}

func TestOneAtATimeAndStopped(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	s, j := start(t, Config{Command: []string{script(t, "mkfifo "+ready+"; echo > "+ready+"; sleep 1000")}})
	if err := s.Show(Most); err != nil {
		t.Fatal(err)
	}
	if err := s.Show(time.Second); !errors.Is(err, ErrBusy) || !regexp.MustCompile(`for (300|[12]\d\d) s more`).MatchString(err.Error()) {
		t.Errorf("a second one: %v", err)
	}
	if left := s.Left(); left <= 0 || left > Most {
		t.Errorf("%v are left", left)
	}
	await(t, ready)
	s.Stop()
	<-j.more
	if said := j.said(); !strings.Contains(said, "level=INFO") || s.Left() != 0 {
		t.Errorf("stopped, %v left: %s", s.Left(), said)
	}
}

// await waits until the script has come to its fifo.
func await(t *testing.T, path string) {
	t.Helper()
	for {
		if _, err := os.Stat(path); err == nil {
			break
		}
		<-time.After(5 * time.Millisecond)
	}
	if _, err := os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
}

// TestStoppedBeforeItHasBegun: whoever stops it at once is heard.
func TestStoppedBeforeItHasBegun(t *testing.T) {
	j := &journal{more: make(chan struct{}, 16)}
	s := New(func() Config { return Config{Command: []string{script(t, "sleep 1000")}} }, slog.New(slog.NewTextHandler(j, nil)))
	if err := s.Show(Most); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-j.more
	cancel()
	if err := <-done; err != nil || s.Left() != 0 {
		t.Errorf("%v, %v left", err, s.Left())
	}
}

// TestWhatDoesNotEndIsEnded: neither a program that will not hear of it, nor one
// that it has left behind with the pipe in its hands, keeps the gateway waiting.
func TestWhatDoesNotEndIsEnded(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	s, j := start(t, Config{Command: []string{script(t, "trap '' TERM; mkfifo "+ready+"; sleep 1000 & echo > "+ready+"; while :; do sleep 1; done")}})
	if err := s.Show(Most); err != nil {
		t.Fatal(err)
	}
	await(t, ready)
	s.Stop()
	<-j.more
}

func TestMuchOutputIsCut(t *testing.T) {
	s, j := start(t, Config{Command: []string{script(t, "yes | head -c 1000000")}})
	if err := s.Show(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	<-j.more
	if said := j.said(); len(said) > 2*mostOutput || !strings.Contains(said, "level=INFO") {
		t.Errorf("%d bytes were said", len(said))
	}
}

func TestWhatGoesWrongIsSaid(t *testing.T) {
	for command, want := range map[string]string{
		script(t, "exit 3"):       "exit status 3",
		"/nonexistent/identify":   "no such file",
		filepath.Dir(t.TempDir()): "permission denied",
	} {
		s, j := start(t, Config{Command: []string{command}})
		if err := s.Show(Most); err != nil {
			t.Fatal(err)
		}
		<-j.more
		if said := j.said(); !strings.Contains(said, want) || !strings.Contains(said, "level=WARN") {
			t.Errorf("%s: %s", command, said)
		}
	}
	s := New(func() Config { return Config{} }, slog.New(slog.DiscardHandler))
	if err := s.Show(time.Second); !errors.Is(err, ErrNone) || s.How() != "" {
		t.Errorf("without anything: %v, %q", err, s.How())
	}
}

func TestAnLEDIsGivenBackAsItWas(t *testing.T) {
	leds := t.TempDir()
	led := filepath.Join(leds, "green:status")
	if err := os.Mkdir(led, 0o700); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"trigger": "none timer [mmc0] heartbeat\n", "brightness": "128\n", "max_brightness": "255\n"}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(led, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(led, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	s, j := start(t, Config{LED: "green:status", LEDs: leds})
	if err := s.Show(Most); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for !seen["0"] || !seen["255"] {
		seen[read("brightness")] = true
		if trigger := read("trigger"); seen["255"] && trigger != "none" {
			t.Errorf("the trigger is %q while it blinks", trigger)
		}
	}
	s.Stop()
	<-j.more
	if read("brightness") != "128" || read("trigger") != "mmc0" {
		t.Errorf("left as %q, %q", read("brightness"), read("trigger"))
	}
	if said := j.said(); !strings.Contains(said, "level=INFO") || s.How() != "led" {
		t.Errorf("%q: %s", s.How(), said)
	}
	gone, j := start(t, Config{LED: "blue", LEDs: leds})
	if err := gone.Show(time.Second); err != nil {
		t.Fatal(err)
	}
	<-j.more
	if said := j.said(); !strings.Contains(said, "no such file") {
		t.Errorf("an LED that is not there: %s", said)
	}
}
