package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/serialport"
)

func TestNoMoreThanAFewPortsAreWorkedAtAtOnce(t *testing.T) {
	pb := newPortBench(t)
	var devices []string
	for i := range maxTasks + 1 {
		device, _ := pb.plug(fmt.Sprintf("ttyUSB%d", i), fmt.Sprintf("N%d", i))
		devices = append(devices, device)
	}
	b := newBench(t, pb, "")
	for _, device := range devices[:maxTasks] {
		s := b.ask("/api/v1/serial/listen", api.SerialListen{SerialPlace: api.SerialPlace{Port: device}})
		until(s, "the first line", func(api.SerialHeard) bool { return true })
	}
	s := b.ask("/api/v1/serial/listen", api.SerialListen{SerialPlace: api.SerialPlace{Port: devices[maxTasks]}})
	if no := refusal[api.SerialHeard](s); s.status != http.StatusConflict || !strings.Contains(no, "4 ports are worked at already") {
		t.Errorf("%d %s", s.status, no)
	}
}

func TestWhatIsNoPortIsNotOpened(t *testing.T) {
	pb := newPortBench(t)
	console, _ := pb.plug("ttyUSB0", "ONE")
	b := newBench(t, pb, "")
	pb.must(os.WriteFile(filepath.Join(pb.root, "dev", "watchdog"), nil, 0o600))
	pb.must(os.WriteFile(filepath.Join(pb.root, "sys/class/tty/ttyUSB0/console"), []byte("Y\n"), 0o644))
	for want, ask := range map[string]api.SerialListen{
		"is no serial port of this machine": {SerialPlace: api.SerialPlace{Port: filepath.Join(pb.root, "dev", "watchdog")}},
		"no such device":                    {SerialPlace: api.SerialPlace{Port: "/dev/nothing"}},
		"which port?":                       {},
		"is the kernel's console":           {SerialPlace: api.SerialPlace{Port: console}},
	} {
		s := b.ask("/api/v1/serial/listen", ask)
		if no := refusal[api.SerialHeard](s); s.status == http.StatusOK || !strings.Contains(no, want) || !strings.Contains(no, " — hint: ") {
			t.Errorf("%+v: %d %s", ask, s.status, no)
		}
	}
	pb.must(os.Remove(filepath.Join(pb.root, "sys/class/tty/ttyUSB0/console")))
	for want, ask := range map[string]api.SerialListen{
		"is no format":      {SerialPlace: api.SerialPlace{Port: console}, SerialSettings: api.SerialSettings{Format: "9X9"}},
		"is not within":     {SerialPlace: api.SerialPlace{Port: console}, SerialSettings: api.SerialSettings{Baud: -1}},
		"is no framing":     {SerialPlace: api.SerialPlace{Port: console}, Framing: "x"},
		"is no checksum":    {SerialPlace: api.SerialPlace{Port: console}, Checksum: "x"},
		"the request's bod": {SerialPlace: api.SerialPlace{Port: strings.Repeat("x", 20<<10)}},
	} {
		s := b.ask("/api/v1/serial/listen", ask)
		if no := refusal[api.SerialHeard](s); s.status != http.StatusBadRequest || !strings.Contains(no, want) {
			t.Errorf("%s: %d %s", want, s.status, no)
		}
	}
}

func TestSendingToAFreePortReturnsWhatComesBack(t *testing.T) {
	pb := newPortBench(t)
	device, _ := pb.plug("ttyUSB0", "ONE")
	b := newBench(t, pb, "")
	end := pb.devices["ttyUSB0"]
	go func() {
		asked := make([]byte, 4)
		if _, err := io.ReadFull(end, asked); err == nil && string(asked) == "T?\r\n" {
			io.WriteString(end, "21.5\r\n")
		}
	}()
	out, no, _ := next[api.SerialSent](b.ask("/api/v1/serial/send", api.SerialSend{SerialPlace: api.SerialPlace{Port: device}, Bytes: `T?\r\n`, Listen: 300}))
	if out.Sent != 4 || string(out.Answer) != "21.5\r\n" || out.Watched {
		t.Errorf("%+v %s", out, no)
	}
	for _, ask := range []api.SerialSend{{Bytes: ""}, {Bytes: `\q`}, {Bytes: "x", Listen: 99_999}, {Bytes: strings.Repeat("x", maxSend+1)}} {
		ask.Port = device
		if s := b.ask("/api/v1/serial/send", ask); s.status != http.StatusBadRequest || !strings.Contains(refusal[api.SerialSent](s), " — hint: ") {
			t.Errorf("%+v: %d", ask, s.status)
		}
	}
}

func TestARestEndsARunAndLetsItBeginAnew(t *testing.T) {
	r := new(rest)
	runs := make(chan context.Context, 9)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- r.run(ctx, func(run context.Context) error { runs <- run; <-run.Done(); return nil })
	}()
	first := <-runs
	release, err := r.hold(t.Context())
	if err != nil || first.Err() == nil {
		t.Fatal(err)
	}
	if _, err := r.hold(t.Context()); err == nil {
		t.Error("held twice")
	}
	select {
	case <-runs:
		t.Error("it runs while it is held")
	default:
	}
	release()
	<-runs
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// A door that has ended by itself is held until it would begin.
	release, err = r.hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	go func() { ended <- r.run(t.Context(), func(context.Context) error { return broken }) }()
	select {
	case err := <-ended:
		t.Fatalf("it has run: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	release()
	if err := <-ended; err != broken {
		t.Error(err)
	}
}

func TestWatchedPortsAreToldByWhatHasChanged(t *testing.T) {
	port := func(device, name string) api.SerialPort {
		return api.SerialPort{Info: serialport.Info{Device: device}, Configure: name, Facts: "facts of " + name}
	}
	one, two, other := port("/dev/ttyUSB0", "one"), port("/dev/ttyUSB1", "two"), port("/dev/ttyUSB0", "other")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	for want, lists := range map[string][2][]api.SerialPort{
		"": {{one}, {one}},
		"03:04:05  new   two\n    facts of two\n":                                            {{one}, {one, two}},
		"03:04:05  gone  one\n    facts of one\n":                                            {{one, two}, {two}},
		"03:04:05  gone  one\n    facts of one\n03:04:05  new   other\n    facts of other\n": {{one}, {other}},
	} {
		if got := portChanges(at, lists[0], lists[1]); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSettingsAreTakenApart(t *testing.T) {
	for text, want := range map[string]api.SerialSettings{"": {}, "9600 8N1": {Baud: 9600, Format: "8N1"}, "300": {Baud: 300}} {
		if got, err := apart(api.SerialSettings{Settings: text}); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, s := range []api.SerialSettings{{Settings: "x"}, {Settings: "9600 8N1", Baud: 1}, {Settings: "9600", Format: "8N1"}} {
		if _, err := apart(s); err == nil || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%+v: %v", s, err)
		}
	}
}
