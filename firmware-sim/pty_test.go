package firmwaresim

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Go interrupts its own system calls now and then. A line is heard all the same:
// what is sent while it seems not to be would be lost.
func TestSignalsDoNotMakeALineUnheard(t *testing.T) {
	p, err := openPty()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	other, err := os.OpenFile(p.name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	runtime.LockOSThread() // the one that is interrupted
	defer runtime.UnlockOSThread()
	thread := unix.Gettid()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				unix.Tgkill(os.Getpid(), thread, unix.SIGURG)
			}
		}
	}()
	for i := range 20_000 {
		if !p.heard() {
			t.Errorf("not heard at look %d", i)
			break
		}
	}
	close(stop)
	<-stopped
	other.Close()
	if p.heard() {
		t.Error("heard, and nobody is there")
	}
}
