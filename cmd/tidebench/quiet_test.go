package main

import (
	"math"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSwitchesOfBothKindsCount(t *testing.T) {
	n, err := parseSwitches("Name:\ttidegate\nvoluntary_ctxt_switches:\t40\nnonvoluntary_ctxt_switches:\t2\n")
	if err != nil || n != 42 {
		t.Errorf("%d, %v", n, err)
	}
	for _, wrong := range []string{"", "voluntary_ctxt_switches:\t40\n", "voluntary_ctxt_switches:\tx\nnonvoluntary_ctxt_switches:\t2\n"} {
		if _, err := parseSwitches(wrong); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
	if n, err := switchesOf(os.Getpid()); err != nil || n == 0 {
		t.Errorf("this process was never switched to: %d, %v", n, err)
	}
	if _, err := switchesOf(math.MaxInt32); err == nil {
		t.Error("a process that is not there has been counted")
	}
}

func TestReadyIsALineOfItsOwn(t *testing.T) {
	socket, path, err := listenReady(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	program, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, text := range []string{"STATUS=READY=1", "READY=0", "STATUS=it runs\nREADY=1\n"} {
		if _, err := program.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if took, err := readyAfter(socket, time.Now()); err != nil || math.IsNaN(took) {
		t.Errorf("%v, %v", took, err)
	}
	if took, err := readyAfter(socket, time.Now()); err != nil || !math.IsNaN(took) {
		t.Errorf("what was never said came after %v, %v", took, err)
	}
}

// A start that is measured is one of a gateway that has the backlog.
func TestWhatIsStartedHasABacklog(t *testing.T) {
	b := testBench(t)
	dir := shortDir(t, b)
	g, err := b.startOne(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.fillNoise(t.Context(), g, 1<<20); err != nil {
		t.Fatal(err)
	}
	for _, e := range endings() {
		if err := e.by(g, dir); err != nil {
			t.Fatal(e.name, err)
		}
		var took startUp
		if g, err = b.startOne(t.Context(), dir, &took); err != nil {
			t.Fatal(e.name, err)
		}
		if took.accepts <= 0 {
			t.Errorf("after %s it took %v", e.name, took)
		}
		if info, err := os.Stat(filepath.Join(dir, "data", "journal", "state.db")); err != nil || info.Size() == 0 {
			t.Errorf("after %s: %v", e.name, err)
		}
	}
	g.kill()
}
