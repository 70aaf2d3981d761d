package serialport

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/internal/ptytest"
)

// The tests of this file are named after the traps of tarm/serial that the
// package comment lists. Each fails when its work-around is taken out.

func TestTrapCloseWaitsForAReadThatNeverEnds(t *testing.T) {
	_, name := ptytest.New(t)
	p := open(t, Config{Path: name})
	reading := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		_, err := p.ReadTimeout(make([]byte, 10), -1)
		reading <- err
	}()
	<-started
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	for _, c := range []chan error{closed, reading} {
		select {
		case err := <-c:
			if err != nil && !errors.Is(err, os.ErrClosed) {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("Close and the read wait for each other")
		}
	}
	if _, err := p.ReadTimeout(make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a read after Close: %v", err)
	}
	if _, err := p.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a write after Close: %v", err)
	}
	if err := p.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a second Close: %v", err)
	}
}

func TestTrapTimeoutsAreTenthsAndAreToldAsTheEnd(t *testing.T) {
	device, name := ptytest.New(t)
	p := open(t, Config{Path: name})
	if cc := settings(t, p).Cc; cc[unix.VMIN] != 0 || cc[unix.VTIME] != 0 {
		t.Errorf("the kernel times reads: VMIN %d, VTIME %d", cc[unix.VMIN], cc[unix.VTIME])
	}
	buf := make([]byte, 10)
	for range 20 {
		if n, err := p.ReadTimeout(buf, time.Millisecond); n != 0 || err != nil {
			t.Fatalf("nothing arrived: %d bytes and %v, want 0 and no error", n, err)
		}
	}
	device.WriteString("late")
	if n, err := p.ReadTimeout(buf, time.Minute); err != nil || string(buf[:n]) != "late" {
		t.Errorf("after timeouts: %q, %v", buf[:n], err)
	}
}

func TestTrapAnUnpluggedPortEndsAtOnceForEver(t *testing.T) {
	device, name := ptytest.New(t)
	p := open(t, Config{Path: name})
	device.WriteString("last words")
	buf := make([]byte, 4) // less than what there is: the rest waits in the port
	n, err := p.ReadTimeout(buf, time.Minute)
	device.Close()
	got := bytes.Clone(buf[:n])
	for err == nil {
		n, err = p.ReadTimeout(buf, time.Minute)
		got = append(got, buf[:n]...)
	}
	if string(got) != "last words" || !errors.Is(err, ErrGone) || errors.Is(err, io.EOF) {
		t.Errorf("read %q and then %v", got, err)
	}
	if n, err := p.ReadTimeout(buf, -1); n != 0 || !errors.Is(err, ErrGone) {
		t.Errorf("once more: %d, %v", n, err)
	}
	if _, err := p.Write([]byte("hello?")); !errors.Is(err, ErrGone) {
		t.Errorf("a write: %v", err)
	}
	if err := p.Drain(); err != nil && !errors.Is(err, ErrGone) {
		t.Errorf("drain: %v", err)
	}
}

func TestTrapAWaitingReadLearnsOfTheUnplug(t *testing.T) {
	device, name := ptytest.New(t)
	p := open(t, Config{Path: name})
	ended := make(chan error, 1)
	go func() {
		_, err := p.ReadTimeout(make([]byte, 10), -1)
		ended <- err
	}()
	device.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, ErrGone) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the read waits for a device that is gone")
	}
}

func TestTrapAWriteThatNeverEnds(t *testing.T) {
	device, name := ptytest.New(t)
	p := open(t, Config{Path: name, Baud: 4000000, WriteTimeout: 20 * time.Millisecond})
	n, err := p.Write(make([]byte, 1<<17)) // nobody reads it
	if !errors.Is(err, ErrStuck) || !strings.Contains(err.Error(), "hint: ") {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if c := p.Counters(); c.Abandoned != uint64(1<<17-n) || c.Sent != uint64(n) {
		t.Errorf("%d bytes were written and %d were abandoned of %d", n, c.Abandoned, 1<<17)
	}
	// The device comes back to its senses, and so does the port. Of the message
	// that was given up, no more comes than what the device had already.
	heard := make(chan []byte)
	go func() {
		var all []byte
		for buf := make([]byte, 4096); !bytes.HasSuffix(all, []byte("again")); {
			n, err := device.Read(buf)
			if all = append(all, buf[:n]...); err != nil {
				break
			}
		}
		heard <- all
	}()
	if _, err := p.Write([]byte("again")); err != nil {
		t.Errorf("the next write: %v", err)
	}
	if got := <-heard; len(got) >= n || !bytes.HasSuffix(got, []byte("again")) {
		t.Errorf("the device heard %d bytes of %d, and %q at the end", len(got), n, got[max(0, len(got)-5):])
	}
}

func TestTrapTwoOpensOfOnePort(t *testing.T) {
	_, name := ptytest.New(t)
	first := open(t, Config{Path: name, Baud: 115200})
	_, err := Open(Config{Path: name, Baud: 300})
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "tidegate itself") {
		t.Errorf("a second open: %v", err)
	}
	if got := settings(t, first); got.Ospeed != 115200 {
		t.Errorf("the second open changed the speed to %d", got.Ospeed)
	}
	var exclusive int
	if exclusive, err = unix.IoctlGetInt(first.control, unix.TIOCGEXCL); err != nil || exclusive == 0 {
		t.Errorf("programs that do not look for flock may open the port: TIOCEXCL is %d, %v", exclusive, err)
	}
	first.Close()
	open(t, Config{Path: name})
}

func TestTrapParityIsNeverChecked(t *testing.T) {
	device, name := ptytest.New(t)
	p := open(t, Config{Path: name, Parity: Even})
	if got := settings(t, p).Iflag; got&(unix.INPCK|unix.PARMRK) != unix.INPCK|unix.PARMRK || got&unix.IGNPAR != 0 {
		t.Errorf("damage is not marked: iflag %#x", got)
	}
	// The kernel doubles a good FF then, and nobody may see that.
	want := []byte{0xFF, 0, 1, 0xFF, 0xFF, 0, 0, 0xFF}
	device.Write(want)
	var got []byte
	for buf := make([]byte, 3); len(got) < len(want); {
		n, err := p.ReadTimeout(buf, time.Minute)
		if err != nil || n == 0 {
			t.Fatalf("read %x, then %v", got, err)
		}
		got = append(got, buf[:n]...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("sent %x, read %x", want, got)
	}
}

func TestTrapSpeedsOutsideTheTable(t *testing.T) {
	for _, baud := range []int{250000, 31250, 14400, 9600, 921600, 4000000, 62500} {
		_, name := ptytest.New(t)
		p := open(t, Config{Path: name, Baud: baud})
		if got := settings(t, p); int(got.Ospeed) != baud || int(got.Ispeed) != baud {
			t.Errorf("%d baud was set to %d and %d", baud, got.Ospeed, got.Ispeed)
		}
	}
}

func TestTrapFlowControlAndParitiesAreMissing(t *testing.T) {
	_, name := ptytest.New(t)
	p := open(t, Config{Path: name, RTSCTS: true, StopBits: 2})
	if got := settings(t, p).Cflag; got&unix.CRTSCTS == 0 || got&unix.CSTOPB == 0 {
		t.Errorf("cflag %#x", got)
	}
	_, name = ptytest.New(t)
	p = open(t, Config{Path: name, XONXOFF: true})
	if got := settings(t, p); got.Iflag&(unix.IXON|unix.IXOFF) != unix.IXON|unix.IXOFF || got.Cc[unix.VSTART] != 0x11 || got.Cc[unix.VSTOP] != 0x13 {
		t.Errorf("iflag %#x", got.Iflag)
	}
	// A pseudo terminal has no parity bits, so what is asked for is looked at.
	const parity = unix.PARENB | unix.PARODD | unix.CMSPAR
	for p, want := range map[Parity]uint32{
		None: 0, Even: unix.PARENB, Odd: unix.PARENB | unix.PARODD,
		Mark: unix.PARENB | unix.CMSPAR | unix.PARODD, Space: unix.PARENB | unix.CMSPAR,
	} {
		if got := (Config{Parity: p}).WithDefaults().termios().Cflag & parity; got != want {
			t.Errorf("%v: %#x, want %#x", p, got, want)
		}
	}
}

func TestTrapNoModemLinesAndNoRS485(t *testing.T) {
	for want, c := range map[string]Config{
		"no RS-485 mode": {RS485: RS485{Enabled: true}},
		"no RTS line":    {RTS: Low},
		"no DTR line":    {DTR: High},
	} {
		_, name := ptytest.New(t)
		c.Path = name
		p, err := Open(c) // a pseudo terminal has neither
		if err == nil {
			p.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%s: %v", want, err)
		}
		open(t, Config{Path: name}) // and nothing was left open or locked
	}
}

// A lock that outlives us would keep everybody out for as long as any program has
// the device open.
func TestACloseLeavesThePortToOthers(t *testing.T) {
	_, name := ptytest.New(t)
	other, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	open(t, Config{Path: name}).Close()
	if exclusive, err := unix.IoctlGetInt(other, unix.TIOCGEXCL); err != nil || exclusive != 0 {
		t.Errorf("TIOCEXCL is %d after Close, %v", exclusive, err)
	}
}

// Whoever closes a port may open it again, also when somebody else was closing it.
func TestAPortIsFreeWhenCloseReturns(t *testing.T) {
	_, path := ptytest.New(t)
	for range 2000 {
		p, err := Open(Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		go p.Close()
		for buf := make([]byte, 9); !errors.Is(err, os.ErrClosed); {
			_, err = p.ReadTimeout(buf, -1)
		}
		p.Close()
	}
}
