package serialin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/internal/ptytest"
	"github.com/tidegate/tidegate/internal/serialport"
	"github.com/tidegate/tidegate/reading"
)

func TestAfterAFailedCommitTheNextFrameIsConfirmedAgain(t *testing.T) {
	b := &bench{devices: map[ingest.Source]*os.File{}, confirm: []byte("OK\n")}
	s := b.source(t)
	custody := ingesttest.NewCustody()
	run(t, s.(*Source), custody)
	d := b.speak(t, s)
	d.Send(0)
	custody.Taken(t, 1)
	custody.Fail(errors.New("disk is gone"))
	until(t, "the failure is said", func() bool { return s.(*Source).Stats().Trouble == "disk is gone" })
	d.Send(1)
	custody.Taken(t, 2)
	custody.Commit()
	ctx, cancel := context.WithTimeout(t.Context(), ingesttest.Patience)
	defer cancel()
	if n, err := d.Acked(ctx); n != 0 || err != nil { // the first confirmation ever
		t.Errorf("%d, %v", n, err)
	}
	until(t, "one of two is counted", func() bool { st := s.(*Source).Stats(); return st.Confirmed == 1 && st.Frames == 2 })
}

func TestAConfirmationMayNameItsFrame(t *testing.T) {
	b := &bench{devices: map[ingest.Source]*os.File{}, confirm: []byte("<{frame}|{frame}>")}
	s := b.source(t).(*Source)
	custody := ingesttest.NewCustody()
	custody.CommitAtOnce()
	run(t, s, custody)
	d := b.speak(t, s)
	d.Send(12)
	d.Send(345)
	mustHear(t, b.devices[s], "<12|12><345|345>")
}

// doors is a custody whose receipts the test resolves one by one, and which
// takes nothing while it is shut.
type doors struct {
	shut     chan struct{} // closed when it is opened
	receipts chan *single
}

type single struct {
	result chan error
	values []float64
}

func (s *single) Wait(ctx context.Context) error {
	select {
	case err := <-s.result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func newDoors() *doors { return &doors{make(chan struct{}), make(chan *single, 1000)} }

func (d *doors) Accept(ctx context.Context, rs []reading.Reading, _ ...reading.Note) (ingest.Receipt, error) {
	select {
	case <-d.shut:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s := &single{result: make(chan error, 1)}
	for _, r := range rs {
		f, _ := r.Value.Number()
		s.values = append(s.values, f)
	}
	d.receipts <- s
	return s, nil
}

func (d *doors) Notes(context.Context, string, func(reading.Note) error) error { return nil }

func TestFramesThatWaitForTheDiskAreKeptWhenTheDoorStops(t *testing.T) {
	device, path := ptytest.New(t)
	s := newSource(t, Config{Port: serialport.Config{Path: path}})
	s.grace = ingesttest.Patience // of a door that may be stopped itself
	custody := newDoors()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ingest.NewIntake(custody, nil, time.Now)) }()
	isOpen(t, s)
	for n := range 100 {
		fmt.Fprintln(device, n)
	}
	until(t, "all are read", func() bool { return s.Stats().Frames == 100 }) // and custody is shut
	cancel()
	until(t, "the line is left", func() bool { return s.Stats().State == Stopped })
	close(custody.shut)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	close(custody.receipts)
	kept := 0
	for r := range custody.receipts {
		kept += len(r.values)
	}
	if kept != 100 {
		t.Errorf("%d of 100 frames that were read are kept", kept)
	}
}

func TestNothingBehindAFailedCommitIsConfirmed(t *testing.T) {
	device, path := ptytest.New(t)
	s := newSource(t, Config{Port: serialport.Config{Path: path}, Confirm: []byte("{frame};")})
	custody := newDoors()
	close(custody.shut)
	run(t, s, custody)
	isOpen(t, s)
	send := func(n int) *single {
		fmt.Fprintln(device, n)
		return <-custody.receipts
	}
	first, second := send(1), send(2)
	until(t, "the second is on its way, too", func() bool { return s.Stats().Frames == 2 && s.Stats().Backlog == 0 })
	first.result <- errors.New("disk is gone")
	second.result <- nil
	until(t, "the failure is seen", func() bool { return s.Stats().Trouble == "disk is gone" })
	send(3).result <- nil
	mustHear(t, device, "3;")
}

// The device that came back may have begun anew, and have sent something else: a
// confirmation of what was read before would be taken for that.
func TestWhatWasReadBeforeAReplugIsNotConfirmedAfterIt(t *testing.T) {
	h := newHub(t)
	before := h.plug("ttyUSB0", "1-1", "X")
	s := newSource(t, Config{Port: serialport.Config{Path: h.byID("X"), Host: h.Host}, Confirm: []byte("{frame};")})
	custody := newDoors()
	run(t, s, custody)
	isOpen(t, s)
	fmt.Fprint(before, "1\n") // its frame is held up by the disk
	until(t, "it is decoded", func() bool { st := s.Stats(); return st.Frames == 1 && st.Backlog == 0 })
	fmt.Fprint(before, "2\n") // and this one waits behind it
	until(t, "it waits", func() bool { return s.Stats().Frames == 2 })
	h.unplug(before, "ttyUSB0", "1-1")
	untilGone(t, s, 1)
	after := h.plug("ttyUSB0", "1-1", "X")
	isOpen(t, s)
	fmt.Fprint(after, "3\n")
	until(t, "all are read", func() bool { return s.Stats().Frames == 3 })
	close(custody.shut)
	for kept := 0; kept < 3; {
		r := <-custody.receipts
		kept += len(r.values)
		r.result <- nil
	}
	mustHear(t, after, "3;")
	until(t, "one is confirmed", func() bool { return s.Stats().Confirmed == 1 })
}

// Two wires: the gateway hears itself, and would confirm its confirmations without
// end.
func TestAConfirmationThatIsHeardIsNotConfirmed(t *testing.T) {
	device, path := ptytest.New(t)
	s := newSource(t, Config{Port: serialport.Config{Path: path}, Confirm: []byte("OK {frame}\r\n")})
	custody := ingesttest.NewCustody()
	custody.CommitAtOnce()
	run(t, s, custody)
	isOpen(t, s)
	for n := 1; n <= 3; n++ {
		said := fmt.Sprintf("OK %d\r\n", n)
		fmt.Fprintln(device, n)
		mustHear(t, device, said)
		device.WriteString(said)
		fmt.Fprintln(device, n) // once more: it did not understand the confirmation
		mustHear(t, device, said)
		device.WriteString(said)
	}
	fmt.Fprintln(device, 4)
	mustHear(t, device, "OK 4\r\n")
	until(t, "seven are confirmed", func() bool { return s.Stats().Confirmed == 7 })
	if st := s.Stats(); st.Frames != 7 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
}

func TestADeviceThatSendsAgainIsConfirmedAgainWhateverTheWords(t *testing.T) {
	device, path := ptytest.New(t)
	s := newSource(t, Config{Port: serialport.Config{Path: path}, Confirm: []byte("{frame}\n")})
	custody := ingesttest.NewCustody()
	custody.CommitAtOnce()
	run(t, s, custody)
	isOpen(t, s)
	for range 3 {
		device.WriteString("7\n")
		mustHear(t, device, "7\n")
	}
}

// turnstile is a custody that takes what it is told to, one after the other.
type turnstile struct {
	*doors
	turns chan error // what becomes of the next: nil if it is taken
}

func newTurnstile() *turnstile {
	d := newDoors()
	close(d.shut)
	return &turnstile{d, make(chan error)}
}

func (s *turnstile) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	select {
	case err := <-s.turns:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.doors.Accept(ctx, rs, notes...)
}

// take lets one more through, and commits it.
func (s *turnstile) take() {
	s.turns <- nil
	(<-s.receipts).result <- nil
}

// What was read before a commit failed is not confirmed, either, if it was given to
// custody only then: a device that counts would take that for the frame that is lost.
func TestNothingThatCameBeforeAFailureIsConfirmed(t *testing.T) {
	for name, fail := range map[string]func(*turnstile, *os.File, *Source){
		"a commit fails": func(custody *turnstile, device *os.File, s *Source) {
			custody.turns <- nil
			first := <-custody.receipts
			fmt.Fprint(device, "2\n") // custody takes its time for it
			until(t, "the second is decoded", func() bool { st := s.Stats(); return st.Frames == 2 && st.Backlog == 0 })
			fmt.Fprint(device, "3\n")
			until(t, "the third waits", func() bool { return s.Stats().Frames == 3 })
			first.result <- errors.New("disk is gone")
			until(t, "the failure is seen", func() bool { return s.Stats().Trouble == "disk is gone" })
			custody.take()
			custody.take()
		},
		"custody refuses": func(custody *turnstile, device *os.File, s *Source) {
			fmt.Fprint(device, "2\n")
			until(t, "the second waits", func() bool { return s.Stats().Frames == 2 })
			custody.turns <- errors.New("disk is gone")
			custody.take()
		},
	} {
		t.Run(name, func(t *testing.T) {
			device, path := ptytest.New(t)
			s := newSource(t, Config{Port: serialport.Config{Path: path}, Confirm: []byte("{frame};")})
			custody := newTurnstile()
			run(t, s, custody)
			isOpen(t, s)
			fmt.Fprint(device, "1\n")
			until(t, "the first is decoded", func() bool { st := s.Stats(); return st.Frames == 1 && st.Backlog == 0 })
			fail(custody, device, s)
			fmt.Fprint(device, "9\n")
			custody.take()
			mustHear(t, device, "9;")
		})
	}
}
