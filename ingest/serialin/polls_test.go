package serialin

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/internal/ptytest"
	"github.com/tidegate/tidegate/internal/serialport"
)

func TestADeviceThatTakesNothingIsStillHeard(t *testing.T) {
	device, path := ptytest.New(t)
	s := newSource(t, Config{
		Port:   serialport.Config{Path: path, Baud: 4000000, WriteTimeout: 10 * time.Millisecond},
		Target: target("temp"),
		Polls:  []Poll{{Request: make([]byte, 100_000), Interval: time.Millisecond, Timeout: time.Millisecond, Target: target("never"), Expect: []byte("never")}},
	})
	custody := ingesttest.NewCustody()
	run(t, s, custody)
	isOpen(t, s)
	for n := range 5 {
		fmt.Fprintln(device, n)
		custody.Taken(t, n+1)
	}
	until(t, "the stuck writes are counted", func() bool { st := s.Stats(); return st.Port.Abandoned > 0 && st.Timeouts > 1 })
}

func poll(request, expect, metric string) Poll {
	return Poll{Request: []byte(request), Expect: []byte(expect), Interval: time.Millisecond, Timeout: ingesttest.Patience, Target: target(metric)}
}

func TestPollsAreAskedInTurnAndAnswersAreTheirs(t *testing.T) {
	device, path := ptytest.New(t)
	s := newSource(t, Config{Port: serialport.Config{Path: path}, Polls: []Poll{poll("T?\r\n", "", "temp"), poll("P?\r\n", "1", "pressure")}})
	custody := ingesttest.NewCustody()
	run(t, s, custody)
	asked := bufio.NewReader(device)
	for n := range 3 {
		device.SetReadDeadline(time.Now().Add(ingesttest.Patience))
		for _, want := range []string{"T?\r\n", "P?\r\n"} {
			if got, err := asked.ReadString('\n'); got != want {
				t.Fatalf("asked %q, %v; want %q", got, err, want)
			}
			device.WriteString(want) // two wires: the gateway hears itself
			if want == "P?\r\n" {
				device.WriteString("7\n") // no answer to that
			}
			fmt.Fprintf(device, "1%d\n", n)
		}
	}
	rs := custody.Taken(t, 6)
	for i, r := range rs[:6] {
		metric := []string{"temp", "pressure"}[i%2]
		if f, _ := r.Value.Number(); r.Metric != metric || int(f) != 10+i/2 {
			t.Errorf("reading %d is %v", i, r)
		}
	}
	if st := s.Stats(); st.Unasked != 3 || st.Timeouts != 0 || st.Frames != 6 {
		t.Errorf("%+v", st)
	}
}

func TestAnAnswerThatDoesNotComeIsCountedAndHalfOfOneForgotten(t *testing.T) {
	device, path := ptytest.New(t)
	p := poll("T?\n", "", "temp")
	p.Timeout = 30 * time.Millisecond
	s := newSource(t, Config{Port: serialport.Config{Path: path}, Polls: []Poll{p}})
	custody := ingesttest.NewCustody()
	run(t, s, custody)
	asked := bufio.NewReader(device)
	for n, late := 1, true; late; n++ { // on a machine that is busy, it may be half of the next answer
		asked.ReadString('\n')
		device.WriteString("9") // and no more
		until(t, "it is read", func() bool { return s.Stats().Port.Received == uint64(n) })
		late = s.Stats().Timeouts >= uint64(n)
	}
	go func() { // until the line ends; an answer that is late is not taken
		for _, err := asked.ReadString('\n'); err == nil; _, err = asked.ReadString('\n') {
			device.WriteString("8\n")
		}
	}()
	if got := numbers(t, custody.Taken(t, 1)); got[0] != 8 {
		t.Errorf("taken %v", got)
	}
	if st := s.Stats(); st.Timeouts < 1 || st.Scan.Partial < 1 {
		t.Errorf("%+v", st)
	}
}

// Nothing of an answer that was given up begins the next one, whether the door
// waited when its time was over or was busy with what had come; and nothing else is
// cut because it was looked for in the middle.
func TestHalfAnAnswerIsForgottenOnceTheLineIsQuiet(t *testing.T) {
	const timeout = time.Second
	for name, tt := range map[string]struct {
		at    time.Duration // when half of it comes, after the request
		half  string
		busy  bool          // whether the door is, when the time is over
		later time.Duration // when more comes, after that
		more  string
		next  string // what comes after the next request
		want  []string
	}{
		"it comes early":          {timeout / 10, "19", false, 0, "", "18\n", []string{"18"}},
		"it comes late":           {timeout - time.Millisecond, "19", false, 0, "", "18\n", []string{"18"}},
		"the door is busy":        {timeout / 10, "19", true, 0, "", "18\n", []string{"18"}},
		"it goes on, and ends":    {timeout - time.Millisecond, "1", false, time.Millisecond, "9", "18\n", []string{"18"}},
		"it is something else":    {timeout - time.Millisecond, "2", false, timeout - time.Millisecond, "1", "\n18\n", []string{"21", "18"}},
		"it ends, and more comes": {timeout - time.Millisecond, "1", false, time.Millisecond, "9\n2", "2\n18\n", []string{"22", "18"}},
		"something else is told":  {timeout - time.Millisecond, "21\n", false, timeout - time.Millisecond, "2", "2\n18\n", []string{"21", "22", "18"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := awaiting(t, Poll{Request: []byte("?"), Expect: []byte("1"), Timeout: timeout, Target: target("temp")})
				hear := func(text string) {
					if err := l.feed(t.Context(), []byte(text), false); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(tt.at) // in a bubble
				hear(tt.half)
				time.Sleep(timeout - tt.at)
				l.giveUp(!tt.busy)
				time.Sleep(tt.later)
				if tt.more != "" {
					hear(tt.more)
					l.giveUp(false)
				}
				time.Sleep(timeout - tt.later)
				l.giveUp(true)
				if l.polls.next(time.Now()) == nil {
					t.Fatal("nothing is asked")
				}
				l.polls.sent(time.Now())
				hear(tt.next)
				if got := kept(t, l.backlog); !slices.Equal(got, tt.want) {
					t.Errorf("%q, want %q", got, tt.want)
				}
			})
		})
	}
}

// awaiting is a line without a port that has asked one thing.
func awaiting(t *testing.T, p Poll) *line {
	scanner, err := frame.New(frame.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := &Source{config: Config{Target: target("other")}, taps: newTaps()}
	l := &line{
		s: s, intake: ingest.NewIntake(ingesttest.NewCustody(), nil, time.Now), scanner: scanner,
		backlog: newBacklog(1<<20, &s.counts.backlog), polls: newPolls([]Poll{p}, time.Now()),
		trust: trustOf(frame.Config{}), lost: func() (uint64, int) { return 0, 0 },
	}
	l.polls.next(time.Now())
	l.polls.sent(time.Now())
	return l
}

// kept returns the frames of a backlog.
func kept(t *testing.T, b *backlog) (all []string) {
	got, _ := b.take(t.Context(), batch{})
	start := 0
	for _, a := range got.frames {
		all = append(all, string(got.data[start:a.end]))
		start = a.end
	}
	return all
}

func TestAnAnswerIsGivenUpThoughTheDeviceSpeaksAllTheTime(t *testing.T) {
	device, path := ptytest.New(t)
	p := poll("T?\n", "never", "temp")
	p.Timeout = 20 * time.Millisecond
	s := newSource(t, Config{Port: serialport.Config{Path: path}, Polls: []Poll{p}, Target: target("other")})
	custody := ingesttest.NewCustody()
	run(t, s, custody)
	isOpen(t, s)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
				fmt.Fprintln(device, n)
			case <-stop:
				return
			}
		}
	}()
	until(t, "polls time out", func() bool { st := s.Stats(); return st.Timeouts > 1 && st.Frames >= 10 })
	close(stop)
	<-stopped
	for n, r := range custody.Taken(t, 10) {
		if f, _ := r.Value.Number(); int(f) != n {
			t.Fatalf("reading %d is %v: a frame was cut", n, r)
		}
	}
}

// A device that is always late would have every answer taken for that of the next
// poll, for ever, and no timeout would tell.
func TestALateAnswerIsNotThatOfTheNextPoll(t *testing.T) {
	for timeout := 300 * time.Millisecond; !answerLate(t, timeout); timeout *= 4 {
		if timeout > ingesttest.Patience {
			t.Fatal("every answer is late")
		}
	}
}

// answerLate answers one poll late, and the next ones at once. It returns false if
// this machine was so busy that the answer was later than the door waits for it, or
// that another one was late, too.
func answerLate(t *testing.T, timeout time.Duration) (once bool) {
	t.Helper()
	device, path := ptytest.New(t)
	polls := []Poll{poll("T?\n", "", "temp"), poll("P?\n", "", "pressure")}
	polls[0].Timeout = timeout
	s := newSource(t, Config{Port: serialport.Config{Path: path}, Polls: polls, Target: target("unasked")})
	custody := ingesttest.NewCustody()
	begin := time.Now()
	run(t, s, custody)
	asked := bufio.NewReader(device)
	isAsked := func(want string) {
		t.Helper()
		if got, err := asked.ReadString('\n'); got != want {
			t.Fatalf("asked %q, %v; want %q", got, err, want)
		}
	}
	isAsked("T?\n")
	until(t, "it times out", func() bool { return s.Stats().Timeouts > 0 })
	device.WriteString("20\n")
	until(t, "the late answer is read", func() bool { return s.Stats().Port.Received == 3 })
	if time.Since(begin) > 2*timeout { // then the next may have been asked before
		return false
	}
	isAsked("P?\n")
	device.WriteString("1000\n")
	isAsked("T?\n")
	device.WriteString("21\n")
	until(t, "the third is taken, or late", func() bool { return s.Stats().Timeouts > 1 || len(custody.Taken(t, 0)) == 2 })
	if s.Stats().Timeouts > 1 && len(custody.Taken(t, 0)) < 2 {
		return false
	}
	rs := custody.Taken(t, 2)
	if len(rs) != 2 || rs[0].Metric != "pressure" || rs[1].Metric != "temp" || fmt.Sprint(numbers(t, rs)) != "[1000 21]" {
		t.Errorf("taken %v", rs)
	}
	if st := s.Stats(); st.Timeouts < 1 || st.Unasked != 1 || !strings.Contains(st.Trouble, "came late") {
		t.Errorf("%+v", st)
	}
	return true
}

func TestPollsThatCouldNotBeSentAreLeftOut(t *testing.T) {
	now := time.Now()
	p := newPolls([]Poll{{Request: []byte("x"), Interval: time.Second, Timeout: time.Second}}, now)
	now = now.Add(time.Hour) // somebody held the gateway up
	if p.next(now) == nil {
		t.Fatal("nothing is asked")
	}
	p.sent(now)
	p.answers([]byte("answer"))
	if p.next(now) != nil {
		t.Error("what was missed is asked for at once")
	}
	if at, ok := p.due(); !ok || at != now.Add(time.Second) {
		t.Errorf("the next is due at %v, want %v", at, now.Add(time.Second))
	}
}
