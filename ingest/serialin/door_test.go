package serialin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/internal/ptytest"
	"github.com/tidegate/tidegate/internal/serialport"
	"github.com/tidegate/tidegate/reading"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// target takes JSON numbers, and drops what is none.
func target(metric string) *route.Target {
	return &route.Target{Device: "boiler", Metric: metric, Decoder: decode.NewJSON(decode.JSONConfig{})}
}

func newSource(t testing.TB, c Config) *Source {
	t.Helper()
	if c.Target == nil && c.Polls == nil {
		c.Target = target("temp")
	}
	s, err := New(c, quiet())
	if err != nil {
		t.Fatal(err)
	}
	s.look = 5 * time.Millisecond
	return s
}

// run runs the source until the test ends, and fails if it ends before.
func run(t testing.TB, s *Source, custody ingest.Custody) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ingest.NewIntake(custody, nil, time.Now)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// until waits for something that a Source says of itself.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(ingesttest.Patience)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: it did not happen", what)
		}
	}
}

func isOpen(t testing.TB, s *Source) {
	t.Helper()
	until(t, "the port is open", func() bool { return s.Stats().State == Open })
}

// untilGone waits until the device has gone away for the nth time, and the door looks
// for it: isOpen is of another one then.
func untilGone(t testing.TB, s *Source, n uint64) {
	t.Helper()
	until(t, "it is seen to be gone", func() bool { st := s.Stats(); return st.State == Waiting && st.Gone == n })
}

// numbers are the values of readings that are numbers.
func numbers(t testing.TB, rs []reading.Reading) (all []float64) {
	t.Helper()
	for _, r := range rs {
		f, ok := r.Value.Number()
		if !ok {
			t.Fatalf("%v is no number", r)
		}
		all = append(all, f)
	}
	return all
}

// bench is a source and the devices at the other ends of its lines.
type bench struct {
	confirm []byte
	devices map[ingest.Source]*os.File
}

func (b *bench) source(t *testing.T) ingest.Source {
	device, path := ptytest.New(t)
	s := newSource(t, Config{Port: serialport.Config{Path: path}, Confirm: b.confirm})
	b.devices[s] = device
	return s
}

// device is a device that says one number a line, and reads confirmations.
type device struct {
	t    *testing.T
	line *os.File
	told *bufio.Reader
	next int
}

func (b *bench) speak(t *testing.T, source ingest.Source) ingesttest.Peer {
	isOpen(t, source.(*Source))
	line := b.devices[source]
	return &device{t: t, line: line, told: bufio.NewReader(line)}
}

func (d *device) Send(n int)       { fmt.Fprintf(d.line, "\n%d\n", n) }
func (d *device) Garbage(b []byte) { d.line.Write(b) }

func (d *device) Acked(ctx context.Context) (int, error) {
	deadline, _ := ctx.Deadline()
	if err := d.line.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	if text, err := d.told.ReadString('\n'); err != nil || text != "OK\n" {
		return 0, fmt.Errorf("%q, %w", text, err)
	}
	d.next++
	return d.next - 1, nil
}

func TestDoor(t *testing.T) {
	b := &bench{devices: map[ingest.Source]*os.File{}}
	ingesttest.Run(t, ingesttest.Door{New: b.source, Speak: b.speak, Silent: true})
}

func TestDoorThatConfirms(t *testing.T) {
	b := &bench{devices: map[ingest.Source]*os.File{}, confirm: []byte("OK\n")}
	ingesttest.Run(t, ingesttest.Door{New: b.source, Speak: b.speak})
}

func TestADeviceIsFoundAgainUnderAnotherName(t *testing.T) {
	dev := t.TempDir()
	name := filepath.Join(dev, "serial-by-id-boiler")
	first, path := ptytest.New(t)
	if err := os.Symlink(path, name); err != nil {
		t.Fatal(err)
	}
	s := newSource(t, Config{Port: serialport.Config{Path: name, Host: serialport.Host{Dev: dev, Sys: dev}}, Init: []byte("hello\r\n")})
	custody := ingesttest.NewCustody()
	run(t, s, custody)
	isOpen(t, s)
	mustHear(t, first, "hello\r\n")
	first.WriteString("1\n2\n3") // the last one is cut off
	custody.Taken(t, 2)
	until(t, "half a frame is read", func() bool { return s.Stats().Port.Received == 5 })
	os.Remove(name)
	first.Close()
	untilGone(t, s, 1)
	second, path := ptytest.New(t)
	if err := os.Symlink(path, name); err != nil {
		t.Fatal(err)
	}
	isOpen(t, s)
	mustHear(t, second, "hello\r\n")
	second.WriteString("4\n")
	if got := fmt.Sprint(numbers(t, custody.Taken(t, 3))); got != "[1 2 4]" {
		t.Errorf("taken %v", got)
	}
	st := s.Stats()
	if st.Device != path || st.Frames != 3 || st.Scan.Partial != 1 || st.Port.Received != 7 {
		t.Errorf("%+v", st)
	}
}

// A connector that is loose: nothing may be left over each time.
func TestALooseConnectorLeavesNothingBehind(t *testing.T) {
	dev := t.TempDir()
	name := filepath.Join(dev, "boiler")
	s := newSource(t, Config{Port: serialport.Config{Path: name, Host: serialport.Host{Dev: dev, Sys: dev}}, Confirm: []byte("OK\n")})
	custody := ingesttest.NewCustody()
	custody.CommitAtOnce()
	before := descriptors(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	const times = maxFlaps - 1 // in a row, as often as is borne
	go func() { ended <- s.Run(ctx, ingest.NewIntake(custody, nil, time.Now)) }()
	longest := time.Duration(0) // that a device was there
	for n := range times {
		begun := time.Now()
		device := appear(t, s, name)
		fmt.Fprintf(device, "%d\n", n)
		mustHear(t, device, "OK\n")
		os.Remove(name)
		device.Close()
		untilGone(t, s, uint64(n+1))
		longest = max(longest, time.Since(begun))
	}
	// Once more is taken for a fault, and left to the growing pause of who runs
	// the door; or as often again, where this machine was so busy that the device was
	// there for long.
	var err error
	for over := false; !over; {
		begun := time.Now()
		device := appear(t, s, name)
		gone := s.Stats().Gone
		os.Remove(name)
		device.Close()
		until(t, "it is seen to be gone", func() bool {
			select {
			case err = <-ended:
				over = true
			default:
			}
			st := s.Stats()
			return over || st.Gone == gone+1 && st.State == Waiting
		})
		longest = max(longest, time.Since(begun))
		if !over && longest < flap || gone > 10*maxFlaps {
			t.Fatal("it flaps for ever")
		}
	}
	if !errors.Is(err, serialport.ErrGone) {
		t.Errorf("run: %v", err)
	}
	cancel()
	if st := s.Stats(); st.Gone < maxFlaps || st.Confirmed != times || st.Frames != times || st.Port.Received != 2*times {
		t.Errorf("%+v", st)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors were open, and %d are", before, after)
	}
}

// appear puts a device in its place, where the door finds it.
func appear(t *testing.T, s *Source, name string) *os.File {
	t.Helper()
	device, path := ptytest.New(t)
	if err := os.Symlink(path, name); err != nil {
		t.Fatal(err)
	}
	isOpen(t, s)
	return device
}

// descriptors counts the process's.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func mustHear(t *testing.T, device *os.File, want string) {
	t.Helper()
	device.SetReadDeadline(time.Now().Add(ingesttest.Patience))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(device, got); err != nil || string(got) != want {
		t.Fatalf("the device heard %q, %v; want %q", got, err, want)
	}
}

func TestADeviceThatIsNotThereYetIsWaitedForAndThenSaid(t *testing.T) {
	s := newSource(t, Config{Port: serialport.Config{Path: filepath.Join(t.TempDir(), "ttyUSB0")}})
	s.wait = 20 * time.Millisecond
	err := s.Run(t.Context(), ingest.NewIntake(ingesttest.NewCustody(), nil, time.Now))
	if !errors.Is(err, serialport.ErrAbsent) {
		t.Errorf("run: %v", err)
	}
	if st := s.Stats(); st.State != Stopped || st.Trouble == "" {
		t.Errorf("%+v", st)
	}
}

func TestAPortThatAnotherProgramHasIsSaidAtOnce(t *testing.T) {
	_, path := ptytest.New(t)
	other, err := serialport.Open(serialport.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s := newSource(t, Config{Port: serialport.Config{Path: path}})
	if err := s.Run(t.Context(), ingest.NewIntake(ingesttest.NewCustody(), nil, time.Now)); !errors.Is(err, serialport.ErrBusy) {
		t.Errorf("run: %v", err)
	}
}

func TestFramesThatWereReadAreKeptWhenTheDoorStops(t *testing.T) {
	device, path := ptytest.New(t)
	s := newSource(t, Config{Port: serialport.Config{Path: path}})
	custody := ingesttest.NewCustody()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ingest.NewIntake(custody, nil, time.Now)) }()
	isOpen(t, s)
	for n := range 100 {
		fmt.Fprintln(device, n)
	}
	until(t, "all are read", func() bool { return s.Stats().Frames == 100 })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := custody.Taken(t, 0); len(got) != 100 {
		t.Errorf("%d of 100 frames that were read are kept", len(got))
	}
}

func TestAGapEndsAFrame(t *testing.T) {
	for gap := 30 * time.Millisecond; !gapsEndFrames(t, gap); gap *= 10 {
		if gap > time.Second {
			t.Fatal("they end elsewhere")
		}
	}
}

// gapsEndFrames returns false if there may have been a gap where none was meant, or none
// that the door has seen: this machine is busy. None is shorter than it should be.
func gapsEndFrames(t *testing.T, gap time.Duration) bool {
	t.Helper()
	device, path := ptytest.New(t)
	s := newSource(t, Config{Port: serialport.Config{Path: path}, Framing: frame.Config{Kind: frame.Gap}, Gap: gap})
	custody := ingesttest.NewCustody()
	run(t, s, custody)
	isOpen(t, s)
	for n := range 3 {
		begun := time.Now()
		device.WriteString("12")
		fmt.Fprint(device, n+1)
		until(t, "a frame ends", func() bool { return len(custody.Taken(t, 0)) > n || s.Stats().Damaged > 0 })
		took := time.Since(begun)
		if got := numbers(t, custody.Taken(t, 0)); len(got) != n+1 || got[n] != float64(121+n) {
			return false
		}
		if took < gap {
			t.Errorf("a frame ended after %v, want %v", took, gap)
		}
	}
	return true
}

func TestATapShowsBothDirections(t *testing.T) {
	device, path := ptytest.New(t)
	s := newSource(t, Config{Port: serialport.Config{Path: path}, Confirm: []byte("OK\n")})
	custody := ingesttest.NewCustody()
	custody.CommitAtOnce()
	run(t, s, custody)
	isOpen(t, s)
	pieces, stop := s.Tap()
	defer stop()
	device.WriteString("5\n")
	var seen bytes.Buffer
	for seen.Len() < len("in:5\nout:OK\n") {
		select {
		case p := <-pieces:
			fmt.Fprintf(&seen, "%s:%s", p.Direction, p.Bytes)
		case <-time.After(ingesttest.Patience):
			t.Fatalf("seen %q", seen.String())
		}
	}
	if seen.String() != "in:5\nout:OK\n" {
		t.Errorf("seen %q", seen.String())
	}
}

func TestATapThatIsSlowHoldsNothingUp(t *testing.T) {
	device, path := ptytest.New(t)
	s := newSource(t, Config{Port: serialport.Config{Path: path}})
	custody := ingesttest.NewCustody()
	run(t, s, custody)
	isOpen(t, s)
	pieces, stop := s.Tap()
	defer stop()
	for n := range 2 * maxPieces {
		fmt.Fprintln(device, n)
		custody.Taken(t, n+1) // each is a piece of its own
	}
	for range maxPieces {
		<-pieces
	}
	fmt.Fprintln(device, 0)
	if p := <-pieces; p.Missed != maxPieces {
		t.Errorf("%d pieces were missed, want %d", p.Missed, maxPieces)
	}
}
