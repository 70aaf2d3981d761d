package serialin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/internal/ptytest"
	"github.com/tidegate/tidegate/internal/serialport"
	"github.com/tidegate/tidegate/reading"
)

// fed is a line that is fed by the test.
type fed struct {
	*line
	backlog *backlog
	s       *Source
}

func newFed(t *testing.T, f frame.Config) fed {
	_, path := ptytest.New(t)
	s := newSource(t, Config{Port: serialport.Config{Path: path}, Framing: f})
	port, err := serialport.Open(s.config.Port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	b := newBacklog(1<<20, &s.counts.backlog)
	l, err := newLine(s, port, ingest.NewIntake(ingesttest.NewCustody(), nil, time.Now), b)
	if err != nil {
		t.Fatal(err)
	}
	return fed{l, b, s}
}

// speak feeds text in which ^ stands before a damaged byte.
func (f fed) speak(t *testing.T, text string) {
	t.Helper()
	for len(text) > 0 {
		part, rest, damaged := strings.Cut(text, "^")
		if damaged {
			part, rest = part+rest[:1], rest[1:]
		}
		if len(part) > 0 {
			if err := f.feed(t.Context(), []byte(part), damaged); err != nil {
				t.Fatal(err)
			}
		}
		text = rest
	}
}

func (f fed) frames(t *testing.T) (all []string) {
	t.Helper()
	f.backlog.close()
	b, _ := f.backlog.take(t.Context(), batch{})
	start := 0
	for _, a := range b.frames {
		all = append(all, string(b.data[start:a.end]))
		start = a.end
	}
	return all
}

func TestDamagedBytesDamageOnlyTheirFrame(t *testing.T) {
	for name, c := range map[string]struct {
		framing frame.Config
		in      string
		want    string
		damaged uint64
	}{
		"in a frame":          {frame.Config{}, "1\n2^2\n3\n", "1 3", 1},
		"the end was damaged": {frame.Config{}, "1\n22^x33\n4\n", "1 4", 1},
		// What was in a frame looks like an end: neither part is a frame.
		"became an end":         {frame.Config{}, "1\n2^\n2\n3\n", "1 3", 2},
		"first became an end":   {frame.Config{}, "1\n^\n2\n3\n", "1 3", 1},
		"two in one":            {frame.Config{}, "^1^1\n2\n^3\n4\n", "2 4", 2},
		"all":                   {frame.Config{}, "^1^2^\n^3^\n4\n5\n", "5", 3},
		"the checksum knows":    {nmea, sum("$A,1") + "^" + sum("$B,2") + sum("$C,3"), "$A,1 $C,3", 1},
		"a sum that fails":      {nmea, sum("$A,1") + "$B,^x*00\r\n" + sum("$C,3"), "$A,1 $C,3", 0},
		"cut, and the sum says": {nmea, sum("$A,1") + "$B^\n,2*00\r\n" + sum("$C,3"), "$A,1 $C,3", 0},
		"of a fixed size":       {frame.Config{Kind: frame.Fixed, Size: 3}, "aaab^bbccc", "aaa ccc", 1},
		"last of a fixed size":  {frame.Config{Kind: frame.Fixed, Size: 3}, "aaabb^bccc", "aaa ccc", 1},
		"start in a frame":      {frame.Config{Kind: frame.STXETX}, "\x02a\x03\x02b^\x02b\x03\x02c\x03", "a c", 1},
		"between frames":        {frame.Config{Kind: frame.STXETX}, "\x02a\x03^~\x02b\x03\x02c\x03", "a b c", 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFed(t, c.framing)
			f.speak(t, c.in)
			if got := strings.Join(f.frames(t), " "); got != c.want {
				t.Errorf("%q gave %q, want %q", c.in, got, c.want)
			}
			if got := f.s.Stats().Damaged; got != c.damaged {
				t.Errorf("%d damaged frames were counted, want %d", got, c.damaged)
			}
			if len(f.damage.spans) > 1 {
				t.Errorf("%v is remembered for ever", f.damage.spans)
			}
		})
	}
}

var nmea = frame.Config{Checksum: frame.NMEA}

// sum writes a line with its checksum.
func sum(text string) string {
	line, err := nmea.Append(nil, []byte(text))
	if err != nil {
		panic(err)
	}
	return string(line)
}

// "21.5" without its point would be a reading: nothing in the stream tells.
func TestFramesAroundLostBytesAreNotTrusted(t *testing.T) {
	f := newFed(t, frame.Config{})
	lost, waiting := uint64(0), 0
	f.lost = func() (uint64, int) { return lost, waiting }
	f.speak(t, "1\n2")
	lost, waiting = 1, 3 // in what is read now, or in the three bytes behind it
	f.speak(t, "15\n3")
	f.speak(t, "3\n4\n5\n")
	f.speak(t, "6\n")
	if got := strings.Join(f.frames(t), " "); got != "1 5 6" {
		t.Errorf("trusted %q", got)
	}
	// It may be the very next byte that is missing.
	f = newFed(t, frame.Config{})
	f.lost = func() (uint64, int) { return lost, 0 }
	f.speak(t, "1\n")
	lost++
	f.speak(t, "2\n")
	f.speak(t, "15\n3\n") // 2, 4 and 15 were said, perhaps
	if got := strings.Join(f.frames(t), " "); got != "3" {
		t.Errorf("trusted %q", got)
	}
	f = newFed(t, nmea)
	f.lost = func() (uint64, int) { return 1, 0 }
	f.speak(t, sum("$A,1"))
	if got := f.frames(t); len(got) != 1 {
		t.Errorf("a checksum is not believed: %q", got)
	}
}

func TestDamageIsBounded(t *testing.T) {
	var d damage
	for n := range uint64(1000) {
		d.add(10*n, 10*n+1)
	}
	if len(d.spans) != maxSpans || !d.hits(9990, 9991) || !d.hits(5, 11) || d.hits(5, 10) {
		t.Errorf("%d spans: %v", len(d.spans), d.spans)
	}
	if d.forget(9991); len(d.spans) != 0 {
		t.Errorf("%v is kept", d.spans)
	}
}

// slowDisk holds every commit for 50 ms, and takes no more than a group while
// one is under way, as the buffer does.
type slowDisk struct {
	mu     sync.Mutex
	group  *group
	stored []float64
	groups int
}

type group struct {
	done chan struct{}
	size int
}

func (g *group) Wait(ctx context.Context) error {
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const groupSize = 8192

func (d *slowDisk) Accept(ctx context.Context, rs []reading.Reading, _ ...reading.Note) (ingest.Receipt, error) {
	for {
		d.mu.Lock()
		if d.group == nil {
			g := &group{done: make(chan struct{})}
			d.group = g
			d.groups++
			time.AfterFunc(50*time.Millisecond, func() {
				d.mu.Lock()
				d.group = nil
				d.mu.Unlock()
				close(g.done)
			})
		}
		g := d.group
		if g.size+len(rs) <= groupSize {
			g.size += len(rs)
			for _, r := range rs {
				f, _ := r.Value.Number()
				d.stored = append(d.stored, f)
			}
			d.mu.Unlock()
			return g, nil
		}
		d.mu.Unlock()
		if err := g.Wait(ctx); err != nil {
			return nil, err
		}
	}
}

func (d *slowDisk) Notes(context.Context, string, func(reading.Note) error) error { return nil }

func (d *slowDisk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.stored)
}

func TestAFloodLosesNothingWhileTheDiskIsSlow(t *testing.T) {
	device, path := ptytest.New(t)
	const most = 64 << 10
	s := newSource(t, Config{Port: serialport.Config{Path: path, Baud: 921600}, MaxBacklog: most})
	disk := &slowDisk{}
	run(t, s, disk)
	isOpen(t, s)
	const frames = 100_000 // several groups, and far more than the backlog holds
	go func() {
		w := bufio.NewWriter(device)
		for n := range frames {
			fmt.Fprintln(w, n)
		}
		w.Flush()
	}()
	highest := 0
	for kept := 0; kept < frames; { // however long that takes, if it goes on
		until(t, "more frames are kept", func() bool {
			highest = max(highest, s.Stats().Backlog)
			return disk.count() > kept
		})
		kept = disk.count()
	}
	for n, got := range disk.stored {
		if int(got) != n {
			t.Fatalf("frame %d is %v", n, got)
		}
	}
	if highest == 0 || highest > most {
		t.Errorf("the backlog had %d bytes, and may have %d", highest, most)
	}
	if disk.groups < 5 {
		t.Errorf("%d commits: the disk was not slow", disk.groups)
	}
	t.Logf("%d frames in %d commits, at most %d bytes waiting", frames, disk.groups, highest)
}

func TestConfigurationsThatMakeNoSenseAreRefused(t *testing.T) {
	port := serialport.Config{Path: "/dev/ttyUSB0"}
	good := poll("T?", "", "temp")
	for want, c := range map[string]Config{
		"port: no path":       {Target: target("x")},
		"framing: ":           {Port: port, Target: target("x"), Framing: frame.Config{Kind: frame.Fixed}},
		"frames mean nothing": {Port: port},
		"negative gap":        {Port: port, Target: target("x"), Gap: -1},
		"has no request":      {Port: port, Polls: []Poll{{Interval: 1, Timeout: 1, Target: target("x")}}},
		"interval 0s":         {Port: port, Polls: []Poll{{Request: []byte("x"), Timeout: 1, Target: target("x")}}},
		"answer of poll 0":    {Port: port, Polls: []Poll{{Request: good.Request, Timeout: 1, Interval: 1}}},
	} {
		if _, err := New(c, quiet()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%v, want %q and a hint", err, want)
		}
	}
}

func TestBytesGatherUnlessASilenceWouldSeemShorter(t *testing.T) {
	fast := serialport.Config{Baud: 921600}
	for want, c := range map[time.Duration][]Config{
		gatherTime: {{Gap: minGap, Port: fast}, {Gap: 2 * time.Millisecond, Port: fast}},
		// Frames that are 21 ms apart are: not 5 ms less, while nobody looked.
		0: {{Gap: minGap, Port: fast, Framing: frame.Config{Kind: frame.Gap}}, {Gap: time.Second, Port: fast, Framing: frame.Config{DropHalf: true}}},
		// What the kernel keeps for the line would be full too soon.
		1024 * 833 * time.Nanosecond: {{Gap: minGap, Port: serialport.Config{Baud: 12_000_000}}},
	} {
		for _, c := range c {
			if got := c.gather(); got != want {
				t.Errorf("%v at %v, want %v", got, c.Port, want)
			}
		}
	}
}

// A reading that waits for the disk is of when it came.
func TestReadingsHaveTheTimeOfTheirArrival(t *testing.T) {
	f := newFed(t, frame.Config{})
	clock := time.Unix(1700000000, 0)
	custody := ingesttest.NewCustody()
	f.intake = ingest.NewIntake(custody, nil, func() time.Time { return clock })
	f.speak(t, "1\n")
	clock = clock.Add(time.Minute)
	k := &keeper{s: f.s, intake: f.intake, backlog: f.backlog, confirms: make(chan confirm, 1)}
	f.backlog.close()
	k.keep(t.Context())
	rs := custody.Taken(t, 1)
	if rs[0].Time != 1700000000e9 || rs[0].Flags&reading.Stamped == 0 {
		t.Errorf("%+v", rs[0])
	}
}

func TestFramesThatFindNoRoomAreCounted(t *testing.T) {
	f := newFed(t, frame.Config{})
	custody := ingesttest.NewCustody()
	custody.Refuse(errors.New("full"))
	f.intake = ingest.NewIntake(custody, nil, time.Now)
	f.speak(t, "1\n2\n")
	k := &keeper{s: f.s, intake: f.intake, backlog: f.backlog, confirms: make(chan confirm, 1)}
	f.backlog.close()
	k.keep(t.Context())
	if st := f.s.Stats(); st.Refused != 2 || st.Trouble != "full" {
		t.Errorf("%+v", st)
	}
}

func TestAFloodLeavesNoLargeBacklogBehind(t *testing.T) {
	f := newFed(t, frame.Config{})
	big := batch{data: make([]byte, 0, spareBatch+1)}
	f.speak(t, "1\n")
	f.backlog.take(t.Context(), big)
	if got := cap(f.backlog.batch.data); got > spareBatch {
		t.Errorf("%d bytes are kept for the next flood", got)
	}
}
