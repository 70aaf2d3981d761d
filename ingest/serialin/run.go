package serialin

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/serialport"
)

// A device that is away is looked for by following its name: a few system calls,
// where watching files would need a watch on every folder between /dev and a name that
// udev makes and removes with its folders. That is done four times a second for some
// time after it went away, and after the kernel has told of any serial port; so a
// device that was plugged in again is back within a quarter of a second of its name.
// In between, looks are rare, and those of all doors at once: what the kernel does not
// tell of is found by them.
//
// Looking is not opening: a contract of doors is that none retries opening for
// ever. After waitFor Run returns the error all the same, so that a device that
// stays away is said in the log now and then. Daemon runs it again within a
// second, because a run that was as long counts as a success.
const (
	lookEvery = 250 * time.Millisecond
	restEvery = 2 * time.Second
	hurryFor  = 10 * time.Second
	waitFor   = 10 * time.Minute
	// settle is how long the opening of a device that has just appeared may be
	// refused: its owner and mode are set after its name is there. Programs that
	// talk to all new devices may have it for longer: that is waited for.
	settle = 3 * time.Second
	// flap is how long a device must have been open not to count as flapping;
	// one that flaps maxFlaps times in a row is given a pause.
	flap     = time.Second
	maxFlaps = 5
	// grace is how long custody may take, when the door stops, for frames that
	// were read before.
	grace = time.Second
)

// Run reads the line until ctx ends. When the device goes away, or is not there
// yet, Run waits for it, for as long as waitFor says; what comes back under
// another name is found by what it is. Errors other than its absence are
// returned at once.
func (s *Source) Run(ctx context.Context, intake *ingest.Intake) error {
	b := newBacklog(s.config.MaxBacklog, &s.counts.backlog)
	keeping, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	k := &keeper{s: s, intake: intake.Passage(), backlog: b, confirms: make(chan confirm, maxConfirms)}
	var work sync.WaitGroup
	work.Go(func() { k.keep(keeping) })
	work.Go(func() { k.confirm(ctx) })
	err := s.serve(ctx, intake, b)
	s.note(Stopped, err)
	// What was read is kept: the line is closed, and nobody sends it again.
	b.close()
	last := time.AfterFunc(s.grace, giveUp)
	defer last.Stop()
	work.Wait()
	return err
}

// serve opens the port and reads it, and does so again when the device was away.
func (s *Source) serve(ctx context.Context, intake *ingest.Intake, b *backlog) error {
	for flaps := 0; ; {
		port, err := s.open(ctx)
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if s.counts.gone.Load() > 0 {
			s.log.Info("the device is back", "port", s.config.Port.Path, "device", port.Place().Device)
		}
		opened := time.Now()
		err = s.attend(ctx, port, intake, b)
		s.leave(port, err)
		if flaps++; time.Since(opened) > flap {
			flaps = 0
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, serialport.ErrGone) || flaps == maxFlaps:
			return err
		}
		s.log.Warn("the device went away; waiting for it", "port", s.config.Port.Path)
	}
}

// open opens the port, once its device is there.
func (s *Source) open(ctx context.Context) (*serialport.Port, error) {
	port, err := s.try()
	if err == nil || !isAway(err) {
		return port, err
	}
	s.note(Waiting, err)
	say := func(why error) {
		if why.Error() != err.Error() {
			s.note(Waiting, why)
		}
		err = why
	}
	w := s.watchPorts(ctx)
	defer w.end()
	late := time.After(s.wait)
	var appeared time.Time
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-late:
			return nil, err
		case <-w.told:
			w.hurry()
		case <-w.next.C:
		}
		w.again()
		if _, looked := s.config.Port.Host.Find(s.config.Port.Path, s.expect); isAway(looked) {
			appeared = time.Time{}
			say(looked)
			continue
		}
		if appeared.IsZero() {
			appeared = time.Now()
		}
		port, refused := s.try()
		if refused == nil {
			return port, nil
		}
		say(refused)
		if time.Since(appeared) > s.settle && !isAway(err) && !errors.Is(err, serialport.ErrBusy) {
			return nil, err
		}
	}
}

// isAway says whether an error means to wait for the device: it is not there, or
// another one has its name meanwhile.
func isAway(err error) bool {
	return errors.Is(err, serialport.ErrAbsent) || errors.Is(err, serialport.ErrStranger)
}

// try opens the port, and remembers which device it is.
func (s *Source) try() (*serialport.Port, error) {
	c := s.config.Port
	c.Expect = s.expect
	port, err := serialport.Open(c)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.place, s.port, s.state = port.Place(), port, Open
	if s.place.Kernel || s.place.ByID {
		s.expect = s.place.Identity // the same device as before, if it was known
	}
	return port, nil
}

// leave closes the port and keeps its counts.
func (s *Source) leave(port *serialport.Port, err error) {
	counts := port.Counters()
	port.Close() // it may be closed already, or be gone
	if errors.Is(err, serialport.ErrGone) {
		s.counts.gone.Add(1)
		// One that looks alike may have been plugged in meanwhile.
		s.expect.Alike = s.expect.Alike || s.config.Port.Host.LooksTaken(s.expect)
	}
	s.mu.Lock()
	s.port, s.past = nil, s.past.Plus(counts)
	s.mu.Unlock()
	s.note(Waiting, err)
}

func (s *Source) note(state string, err error) {
	s.mu.Lock()
	s.state = state
	s.mu.Unlock()
	s.trouble(err)
}

// trouble keeps an error for those who ask how the line is.
func (s *Source) trouble(err error) {
	if err == nil || errors.Is(err, os.ErrClosed) || errors.Is(err, context.Canceled) {
		return // the door stops
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.lastAt = err.Error(), time.Now()
}

// current returns the open port, or nil.
func (s *Source) current() *serialport.Port {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.port
}

// attend reads an open port until it breaks or ctx ends.
func (s *Source) attend(ctx context.Context, port *serialport.Port, intake *ingest.Intake, b *backlog) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	stop := context.AfterFunc(ctx, func() { port.Close() })
	defer stop()
	l, err := newLine(s, port, intake, b)
	if err != nil {
		return err
	}
	if len(s.config.Init) > 0 {
		if err := l.write(s.config.Init); err != nil {
			return err
		}
	}
	return l.read(ctx)
}
