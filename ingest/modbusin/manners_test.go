package modbusin

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

func TestAFullBufferPausesPollingAndLosesNothingThatWasRead(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		custody := ingesttest.NewCustody()
		custody.CommitAtOnce()
		s := runInto(t, p.config(words(1, 0), words(2, 0)), custody, quietLog())
		time.Sleep(2500 * time.Millisecond)
		custody.Refuse(ingest.ErrFull)
		before := len(p.seen())
		time.Sleep(10 * time.Second)
		if n := len(p.seen()) - before; n != 1 {
			t.Errorf("%d questions while the buffer was full", n)
		}
		stored := len(custody.Stored())
		custody.Refuse(nil)
		time.Sleep(900 * time.Millisecond)
		if n := len(custody.Stored()) - stored; n < 1 || n > 4 {
			t.Errorf("%d readings in the 900 ms afterwards: what was left out is not made up for", n)
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if st := s.Stats(); st.Paused < 9 || len(custody.Stored()) != len(p.seen()) {
			t.Errorf("%+v: %d readings, %d answers", st, len(custody.Stored()), len(p.seen()))
		}
	})
}

func TestABrokenBufferEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{}
		custody := ingesttest.NewCustody()
		custody.Refuse(errors.New("the disk is gone"))
		s := runInto(t, p.config(words(1, 0)), custody, quietLog())
		time.Sleep(time.Second)
		if err := s.stop(); err == nil || s.Stats().NotStored != 1 {
			t.Errorf("%v, %+v", err, s.Stats())
		}
	})
}

// forgetful is a filter that passes what it has not seen, as one that lets
// through what has changed.
type forgetful struct{ seen map[reading.Value]bool }

func (f *forgetful) Refine(dst []reading.Reading, first int, _ int64) []reading.Reading {
	kept := dst[:first]
	for _, r := range dst[first:] {
		if !f.seen[r.Value] {
			f.seen[r.Value] = true
			kept = append(kept, r)
		}
	}
	return kept
}
func (f *forgetful) Forget() { clear(f.seen) }

func TestReadingsAreRefinedAndTheFilterForgetsWhatWasNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{}
		slave := words(1, 0, 1)
		slave.Lane, slave.Refine, slave.Status = reading.Alarm, &forgetful{map[reading.Value]bool{}}, "up"
		custody := ingesttest.NewCustody()
		s, err := New(p.config(slave), quietLog())
		if err != nil {
			t.Fatal(err)
		}
		intake := ingest.NewIntake(custody, nil, time.Now)
		if plain, err := New(p.config(words(1, 0)), quietLog()); err != nil || len(plain.Filters()) != 0 || len(s.Filters()) != 1 {
			t.Errorf("a bus without filters and status has nothing to forget: %v", err)
		}
		intake.OnLoss(s.Filters()[0])
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx, intake) }()
		time.Sleep(5500 * time.Millisecond)
		custody.Fail(errors.New("write error"))
		if n := len(custody.Taken(t, 0)); n != 3 {
			t.Errorf("%d readings before the failure, want two that passed once and the status", n)
		}
		time.Sleep(5 * time.Second)
		custody.Commit()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		all := count(custody.Stored())
		if len(custody.Stored()) != 3 || all["device-a"] != 3 || custody.Stored()[0].Lane != reading.Alarm {
			t.Errorf("stored %v", custody.Stored())
		}
	})
}

// TestAConnectionThatThePeerClosesIsMadeAnew: many devices close connections
// that were quiet.
func TestAConnectionThatThePeerClosesIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{took: time.Millisecond}
		s := run(t, p.config(words(1, 0)))
		for range 5 {
			time.Sleep(1500 * time.Millisecond)
			p.mu.Lock()
			p.conns[len(p.conns)-1].Close()
			p.mu.Unlock()
		}
		time.Sleep(time.Second)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if st := s.Stats(); st.Reconnects != 5 || st.Slaves[0].Polls != 9 || len(st.Slaves[0].Errors) != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestAPeerThatSaysNothingAnyMoreIsConnectedAnew: its connection may be one that
// it has forgotten.
func TestAPeerThatSaysNothingAnyMoreIsConnectedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{took: time.Millisecond}
		start := time.Now()
		p.script = func(asked) []reply {
			p.mu.Lock()
			defer p.mu.Unlock()
			if time.Since(start) > 5*time.Second && len(p.conns) == 1 {
				return []reply{}
			}
			return nil
		}
		s := run(t, p.config(words(1, 0)))
		time.Sleep(time.Minute)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if st := s.Stats(); st.Reconnects != 1 || !st.Slaves[0].Up || st.Slaves[0].Polls < 25 {
			t.Errorf("%+v", st)
		}
	})
}

func TestABusThatCannotBeReachedIsToldOnceAndReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("connection refused")
		slave := words(1, 0)
		slave.Status = "up"
		cfg := Config{URL: "tcp://x:502", Slaves: []Slave{slave}, dial: func(context.Context) (line, error) { return nil, refused }}
		s, err := New(cfg, quietLog())
		if err != nil {
			t.Fatal(err)
		}
		custody := ingesttest.NewCustody()
		for range 3 {
			if err := s.Run(t.Context(), ingest.NewIntake(custody, nil, time.Now)); !errors.Is(err, refused) {
				t.Errorf("%v", err)
			}
		}
		if rs := custody.Taken(t, 0); len(rs) != 1 || rs[0].Value != reading.Bool(false) || s.Stats().Slaves[0].Up {
			t.Errorf("%v", rs)
		}
	})
}

func TestPipelinedAnswersMayComeInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{}
		p.script = func(q asked) []reply { // the later ones first
			return []reply{{time.Duration(100-10*(q.n%4)) * time.Millisecond, p.frame(q, q.right())}}
		}
		slave := words(1, 0, 100, 200, 300, 400, 500, 600, 700)
		cfg := p.config(slave)
		cfg.Pipeline = 4
		s := run(t, cfg)
		time.Sleep(1900 * time.Millisecond)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		must(t, s.custody.Stored())
		if n := len(s.custody.Stored()); n != 16 {
			t.Errorf("%d readings, want 16", n)
		}
		seen := p.seen()
		if d := seen[4].at.Sub(seen[0].at); d > 110*time.Millisecond || seen[3].at.Sub(seen[1].at) != 0 {
			t.Errorf("%v", seen)
		}
	})
}

func TestALongPollKeepsAFrequentOneWaitingForNoMoreThanItself(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		p.took = 50 * time.Millisecond
		slave := words(1)
		for i := range uint16(80) { // twice 40 requests, 2 s and more
			every := time.Minute - time.Duration(i%2)*time.Second
			slave.Registers = append(slave.Registers, Register{Metric: metric(5 * i), Table: Holding, Address: 5 * i, Every: every})
		}
		slave.Registers = append(slave.Registers, Register{Metric: "w401", Table: Holding, Address: 401})
		s := run(t, p.config(slave))
		time.Sleep(2 * time.Minute)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		must(t, s.custody.Stored())
		frequent := 0
		var last time.Time
		for _, q := range p.seen() {
			if q.address != 401 {
				continue
			}
			if frequent++; frequent > 1 && q.at.Sub(last) > 2500*time.Millisecond {
				t.Errorf("the frequent one had to wait %v", q.at.Sub(last))
			}
			last = q.at
		}
		if st := s.Stats().Slaves[0]; frequent < 105 || st.Skipped > 15 {
			t.Errorf("%d polls of a second in 120 s: %+v", frequent, st)
		}
	})
}

// device is a peer as the suite for doors sees it: here it is asked, and answers.
type device struct{ conn net.Conn }

func (d device) Send(int) {} // polls come by themselves
func (d device) Acked(context.Context) (int, error) {
	return 0, errors.New("a master acknowledges nothing")
}
func (d device) Garbage(b []byte) { d.conn.Write(b) }

// TestDoor runs the suite over real connections. A master has no clients: its
// peer answers whenever it is asked, and talks out of turn.
func TestDoor(t *testing.T) {
	for _, scheme := range []string{"tcp", "rtu+tcp"} {
		t.Run(scheme, func(t *testing.T) {
			p := &puppet{rtu: scheme != "tcp"}
			url := scheme + "://" + p.listen(t)
			ingesttest.Run(t, ingesttest.Door{
				Silent: true,
				New: func(t *testing.T) ingest.Source {
					slave := words(1, 0)
					slave.Every, slave.Timeout, slave.Probe = 5*time.Millisecond, 50*time.Millisecond, 20*time.Millisecond
					s, err := New(Config{URL: url, Slaves: []Slave{slave}}, quietLog())
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
				Speak: func(t *testing.T, s ingest.Source) ingesttest.Peer {
					answers := s.(*Source).Stats().Slaves[0].Answers
					eventually(t, "an answer is taken", func() bool { return s.(*Source).Stats().Slaves[0].Answers > answers })
					p.mu.Lock()
					defer p.mu.Unlock()
					return device{p.conns[len(p.conns)-1]}
				},
			})
		})
	}
}

// listen serves the puppet on an address of this machine until the test ends.
func (p *puppet) listen(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		all.Wait()
	})
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, conn)
			p.mu.Unlock()
			all.Go(func() { p.serve(conn) })
		}
	})
	return l.Addr().String()
}

// eventually waits for something that no channel tells of.
func eventually(t testing.TB, what string, happens func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(ingesttest.Patience)
	for !happens() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("it did not happen that %s", what)
		}
	}
}
