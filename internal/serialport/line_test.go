package serialport

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestCheckSaysWhatIsWrong(t *testing.T) {
	for want, c := range map[string]Config{
		"no path":                {},
		"baud 49 is not":         {Path: "x", Baud: 49},
		"baud 13000000 is not":   {Path: "x", Baud: 13_000_000},
		"baud -1 is not":         {Path: "x", Baud: -1},
		"9 data bits":            {Path: "x", DataBits: 9},
		"3 stop bits":            {Path: "x", StopBits: 3},
		"unknown parity \"X\"":   {Path: "x", Parity: 'X'},
		"write timeout -1s":      {Path: "x", WriteTimeout: -time.Second},
		"RTS cannot be set":      {Path: "x", RTSCTS: true, RTS: High},
		"RS-485 moves RTS":       {Path: "x", RS485: RS485{Enabled: true}, RTSCTS: true},
		"both kinds of flow":     {Path: "x", RTSCTS: true, XONXOFF: true},
		"without RS-485":         {Path: "x", RS485: RS485{LowOnSend: true}},
		"an RS-485 delay is not": {Path: "x", RS485: RS485{Enabled: true, DelayAfter: time.Second}},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%+v: %v, want %q and a hint", c, err, want)
		}
	}
	if err := (Config{Path: "/dev/ttyUSB0"}).Check(); err != nil {
		t.Error(err)
	}
}

func TestCharacterTimesAndLabels(t *testing.T) {
	for want, c := range map[string]Config{
		"9600 8N1": {}, "19200 8E1": {Baud: 19200, Parity: Even}, "300 7O2": {Baud: 300, DataBits: 7, Parity: Odd, StopBits: 2},
	} {
		if got := c.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := (Config{Baud: 1000, Parity: Even}).CharTime(); got != 11*time.Millisecond {
		t.Errorf("11 bits at 1000 baud take %v", got)
	}
}

func TestWhatTheDriverRefusesIsSaid(t *testing.T) {
	base := Config{Baud: 250000, DataBits: 7, Parity: Mark, StopBits: 2, RTSCTS: true}.WithDefaults()
	for want, change := range map[string]func(*unix.Termios){
		"makes 230400 of 250000": func(t *unix.Termios) { t.Ospeed = 230400 },
		"parity mark":            func(t *unix.Termios) { t.Cflag &^= unix.CMSPAR },
		"7 data bits":            func(t *unix.Termios) { t.Cflag |= unix.CS8 },
		"2 stop bits":            func(t *unix.Termios) { t.Cflag &^= unix.CSTOPB },
		"RTS/CTS":                func(t *unix.Termios) { t.Cflag &^= unix.CRTSCTS },
	} {
		got := base.termios()
		change(got)
		if err := base.compare(got); !errors.Is(err, ErrUnable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	close := base.termios()
	close.Ospeed = 250000 - 250000/50 // 2 % off, as dividers are
	if err := base.compare(close); err != nil {
		t.Error(err)
	}
}

func TestWhatRS485HardwareHasNotIsSaid(t *testing.T) {
	ask := RS485{Enabled: true, ReceiveWhileSending: true, Terminate: true, DelayBefore: 1600 * time.Microsecond, DelayAfter: time.Millisecond}
	want := ask.request()
	if want.flags != 1<<0|1<<1|1<<4|1<<5 || want.before != 2 || want.after != 1 {
		t.Errorf("asked for %+v", want)
	}
	if low := (RS485{Enabled: true, LowOnSend: true}).request(); low.flags != 1<<0|1<<2 {
		t.Errorf("asked for %+v", low)
	}
	for text, off := range map[string]uint32{"no RS-485 mode": 1 << 0, "that way round": 1 << 1, "while it sends": 1 << 4, "terminating resistor": 1 << 5} {
		got := want
		got.flags &^= off
		if err := compareRS485(want, got); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
	if err := compareRS485(want, want); err != nil {
		t.Error(err)
	}
}

// The kernel's structs are the same on all machines; a wrong size would have the
// kernel write beyond ours.
func TestKernelStructsHaveTheirSizes(t *testing.T) {
	if n := unsafe.Sizeof(icount{}); n != 80 {
		t.Errorf("serial_icounter_struct has %d bytes, want 80", n)
	}
	if n := unsafe.Sizeof(rs485{}); n != 32 {
		t.Errorf("serial_rs485 has %d bytes, want 32", n)
	}
	if n := unsafe.Sizeof(unix.Termios{}); n != 44 {
		t.Errorf("termios2 has %d bytes, want 44", n)
	}
}

func TestCountersAreDifferencesAndWrapAround(t *testing.T) {
	var c Counters
	c.fill(icount{parity: math.MaxInt32, frame: 5, breaks: -1}, icount{parity: math.MinInt32 + 2, frame: 7, breaks: 1, overrun: 4, bufferedOverruns: 1})
	if want := (Counters{Counted: true, Parity: 3, Frame: 2, Break: 2, Overrun: 4, Overflow: 1}); c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
}

func TestOpenErrorsHelp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file: "is no serial port", "/dev/null": "is no serial port", "/dev/ttyUSB977": ErrAbsent.Error(), "/dev/serial/by-id/nobody": ErrAbsent.Error(),
	} {
		p, err := Open(Config{Path: path})
		if err == nil {
			p.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%v, want %q and a hint", err, want)
		}
	}
	if _, err := Open(Config{Path: "/dev/ttyUSB977"}); !errors.Is(err, ErrAbsent) {
		t.Errorf("%v is not ErrAbsent", err)
	}
}

// mark writes bytes as the kernel does with PARMRK; those at damaged are.
func mark(data []byte, damaged map[int]bool) []byte {
	var raw []byte
	for i, b := range data {
		switch {
		case damaged[i]:
			raw = append(raw, 0xFF, 0, b)
		case b == 0xFF:
			raw = append(raw, 0xFF, 0xFF)
		default:
			raw = append(raw, b)
		}
	}
	return raw
}

// unmark reads raw in pieces into a buffer of a given size.
func unmark(t *testing.T, raw []byte, piece, room int) (data []byte, damaged map[int]bool) {
	var m marks
	damaged = make(map[int]bool)
	dst := make([]byte, room)
	for len(raw) > 0 {
		part := raw[:min(piece, len(raw))]
		raw = raw[len(part):]
		for len(part) > 0 {
			n, used, bad := m.undo(dst, part)
			if n > room || used > len(part) || n == 0 && used == 0 {
				t.Fatalf("wrote %d into %d, used %d of %d", n, room, used, len(part))
			}
			part = part[used:]
			data = append(data, dst[:n]...)
			if bad {
				damaged[len(data)-1] = true
			}
		}
	}
	return data, damaged
}

func FuzzMarksAreUndone(f *testing.F) {
	f.Add([]byte("21.5\n"), uint64(0), 1, 1)
	f.Add([]byte{0xFF, 0, 0xFF, 0, 0}, uint64(0b10100), 2, 3)
	f.Add([]byte{0xFF, 0xFF, 0xFF}, uint64(0b010), 1, 2)
	f.Fuzz(func(t *testing.T, data []byte, bad uint64, piece, room int) {
		piece, room = 1+abs(piece)%16, 1+abs(room)%16
		damaged := make(map[int]bool)
		for i := range min(64, len(data)) {
			if bad>>i&1 == 1 {
				damaged[i] = true
			}
		}
		got, found := unmark(t, mark(data, damaged), piece, room)
		if !bytes.Equal(got, data) || len(found) != len(damaged) {
			t.Fatalf("%x (damaged %v) came out as %x (damaged %v)", data, damaged, got, found)
		}
		for i := range damaged {
			if !found[i] {
				t.Fatalf("damage at %d was found at %v", i, found)
			}
		}
		unmark(t, data, piece, room) // and bytes that no kernel marked: no byte too many, no panic
	})
}

func abs(n int) int { return max(n, -(n + 1)) }

// The driver's own queue is behind that which can be asked for: a loss that it has
// counted may be further on in the stream than that.
func TestALossMayLieBehindWhatTheKernelSaysIsWaiting(t *testing.T) {
	for name, c := range map[string]struct {
		rx, overflow int32
		received     uint64
		want         int
	}{
		"all is read":         {rx: 1500, received: 500},
		"on its way":          {rx: 1600, received: 500, want: 100},
		"lost, never comes":   {rx: 1600, overflow: 100, received: 500},
		"wrapped around":      {rx: math.MinInt32, received: 1<<31 - 1000 - 7, want: 7},
		"more than there is":  {rx: 1000, received: 600}, // other counts are no reason to panic
		"than a kernel keeps": {rx: 1000 + 3*mostBehind, received: 0, want: mostBehind},
	} {
		if got := behind(icount{rx: c.rx, bufferedOverruns: c.overflow}, 1000, icount{}, c.received); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := behind(icount{}, 0, icount{}, 500); got != 0 {
		t.Errorf("a driver that does not count what it receives: %d", got)
	}
}
