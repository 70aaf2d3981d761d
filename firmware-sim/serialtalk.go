package firmwaresim

import (
	"bytes"
	"context"
	"errors"
	"time"
)

const (
	// lastGasp is how long a plug that is pulled in the middle of a frame still
	// has contact, so that the half frame arrives.
	lastGasp = 30 * time.Millisecond
	// maxInput is how much of what a gateway says is kept in search of a poll or
	// a confirmation.
	maxInput = 4096
)

// talk is what a device says while it is plugged in.
type talk struct {
	*SerialDevice
	input <-chan []byte
	heard []byte    // what came and was not understood yet
	pace  time.Time // when the next sample is due
}

func (s *SerialDevice) period() time.Duration {
	if s.cfg.Rate <= 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / s.cfg.Rate)
}

func (s *SerialDevice) firstDue() time.Time { return time.Now().Add(s.period()) }

func (t *talk) run(ctx context.Context) error {
	for t.cfg.Count == 0 || t.device.Seq() < t.cfg.Count || t.owed {
		if err := t.turn(ctx); err != nil {
			return t.gasp(ctx, err)
		}
	}
	if err := t.writePieces(ctx, t.stream.Flush()); err != nil {
		return err
	}
	return t.sleep(ctx, time.Now().Add(t.cfg.Linger))
}

// turn sends one sample, when it is time for it.
func (t *talk) turn(ctx context.Context) error {
	for t.cfg.Patient && !t.port.heard() {
		if err := t.sleep(ctx, time.Now().Add(listenEvery)); err != nil {
			return err
		}
	}
	if t.cfg.Poll != "" {
		if err := t.await(ctx, []byte(t.cfg.Poll), time.Time{}); err != nil {
			return err
		}
		t.count(func(s *SerialStats) { s.Polls++ })
	} else if !t.owed {
		if err := t.sleep(ctx, t.pace); err != nil {
			return err
		}
		if t.pace = t.pace.Add(t.period()); t.pace.Before(time.Now().Add(-maxLate)) {
			t.pace = time.Now()
		}
	}
	if t.cfg.Confirm != "" {
		return t.untilConfirmed(ctx)
	}
	t.sample()
	return t.send(ctx)
}

// sample takes a sample and enters that it is about to be sent.
func (t *talk) sample() {
	name := ""
	if t.cfg.Named {
		name = t.cfg.Name
	}
	m := t.device.Measure(time.Now())
	t.payload = t.cfg.Encoding.Payload(t.payload[:0], name, m)
	t.frame = t.cfg.Encoding.Frame(t.frame[:0], t.payload, t.cfg.Summed)
	t.account.Sent(m.Seq, m.Seq)
	t.count(func(s *SerialStats) { s.Samples++ })
}

// send writes the frame, with its faults.
func (t *talk) send(ctx context.Context) error {
	pieces, copies := t.stream.Frame(t.frame)
	if copies > 1 {
		t.account.Again(t.device.Seq(), t.device.Seq())
	}
	t.count(func(s *SerialStats) { s.Again += uint64(max(0, copies-1)) })
	return t.writePieces(ctx, pieces)
}

func (t *talk) writePieces(ctx context.Context, pieces []Piece) error {
	t.half = true
	for _, p := range pieces {
		if p.Pause > 0 {
			if err := t.sleep(ctx, time.Now().Add(p.Pause)); err != nil {
				return err
			}
		}
		if err := t.line.write(p.Bytes, func(until time.Time) error { return t.sleep(ctx, until) }); err != nil {
			return err
		}
	}
	t.half = false
	return nil
}

// untilConfirmed sends a sample until the gateway has confirmed it, also beyond
// an unplugging.
func (t *talk) untilConfirmed(ctx context.Context) error {
	sent := 0
	for {
		if t.owed {
			t.account.Again(t.device.Seq(), t.device.Seq())
			t.count(func(s *SerialStats) { s.Again++ })
		} else {
			t.sample()
			t.owed = true
		}
		sent++
		if err := t.send(ctx); err != nil {
			return err
		}
		err := t.await(ctx, t.expected(), time.Now().Add(t.cfg.Timeout))
		if errors.Is(err, errLate) {
			continue
		}
		if err != nil {
			return err
		}
		t.owed = false
		t.account.Acked(t.device.Seq(), t.device.Seq())
		t.count(func(s *SerialStats) { s.Acked++ })
		if sent > 1 {
			// Confirmations of the other times must not be taken for that of the
			// next sample.
			err := t.await(ctx, nil, time.Now().Add(t.cfg.Timeout))
			t.heard = t.heard[:0]
			if !errors.Is(err, errLate) {
				return err
			}
		}
		return nil
	}
}

// errLate says that what was awaited did not come in time.
var errLate = errors.New("nothing came in time")

// await waits until the gateway says the text; nil is never said. Zero until
// waits for ever.
func (t *talk) await(ctx context.Context, text []byte, until time.Time) error {
	for {
		if at := bytes.Index(t.heard, text); at >= 0 && text != nil {
			t.heard = append(t.heard[:0], t.heard[at+len(text):]...)
			return nil
		}
		timer, stop := t.alarm(until)
		select {
		case b := <-t.input:
			t.heard = append(t.heard, b...)
			if over := len(t.heard) - maxInput; over > 0 {
				t.heard = append(t.heard[:0], t.heard[over:]...)
			}
		case <-timer:
			if t.unplugs() {
				stop()
				return errUnplugged
			}
			if !until.IsZero() && !time.Now().Before(until) {
				stop()
				return errLate
			}
		case <-ctx.Done():
			stop()
			return ctx.Err()
		}
		stop()
	}
}

// sleep waits for a time, or for the plug to be pulled.
func (t *talk) sleep(ctx context.Context, until time.Time) error {
	for {
		timer, stop := t.alarm(until)
		select {
		case <-timer:
			stop()
		case <-ctx.Done():
			stop()
			return ctx.Err()
		}
		if t.unplugs() {
			return errUnplugged
		}
		if !time.Now().Before(until) {
			return nil
		}
	}
}

// alarm rings at the given time or at the next step of the script, whichever is
// first. Zero is never.
func (t *talk) alarm(at time.Time) (<-chan time.Time, func()) {
	if len(t.steps) > 0 {
		if step := t.began.Add(t.steps[0].At); at.IsZero() || step.Before(at) {
			at = step
		}
	}
	if at.IsZero() {
		return nil, func() {}
	}
	timer := time.NewTimer(time.Until(at))
	return timer.C, func() { timer.Stop() }
}

// unplugs takes the steps that are due, and says whether one pulls the plug.
func (s *SerialDevice) unplugs() bool {
	for len(s.steps) > 0 && !time.Now().Before(s.began.Add(s.steps[0].At)) {
		out := s.steps[0].Out
		if s.steps = s.steps[1:]; out {
			return true
		}
	}
	return false
}

// gasp sees to it that a plug is pulled in the middle of a frame: of the one
// under way, or of one that begins for that. A device that is asked or waits for
// confirmations says nothing more.
func (t *talk) gasp(ctx context.Context, err error) error {
	if !errors.Is(err, errUnplugged) {
		return err
	}
	t.stream.Flush() // what waits for a merger is lost
	if !t.half && (t.cfg.Poll != "" || t.cfg.Confirm != "") {
		return err
	}
	contact, cancel := context.WithTimeout(ctx, lastGasp)
	defer cancel()
	if !t.half {
		t.sample()
		t.line.write(t.frame[:len(t.frame)/2], func(until time.Time) error { return sleepUntil(contact, until) })
	}
	t.half = false
	t.count(func(s *SerialStats) { s.Halved++ })
	<-contact.Done()
	return err
}
