package buffer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// mixed is a group of three lanes: an alarm among 1 MiB of normal and bulk
// readings that compress no better than noise does.
func mixed(n int) []reading.Reading {
	normal, bulk, alarm := noise("a", n, 512<<10), noise("a", n, 512<<10), value(float64(n), reading.Alarm)
	bulk.Lane = reading.Bulk
	return []reading.Reading{normal, bulk, alarm}
}

// fillUntilLost accepts mixed groups until so many readings are declared lost.
func (r *running) fillUntilLost(lost uint64) (groups int) {
	r.t.Helper()
	for r.Stats().Lost < lost {
		r.acceptAll(mixed(groups)...)
		groups++
	}
	return groups
}

func (r *running) lostOf(lane reading.Lane) (n uint64) {
	r.t.Helper()
	gaps, err := r.Gaps()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, g := range gaps {
		if g.Lane == lane.String() {
			n += g.Count
		}
	}
	return n
}

func TestBulkMakesRoomFirstAndAlarmsLast(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.Cursor("cloud")
	n := r.fillUntilLost(8)
	if r.lostOf(reading.Bulk) == 0 || r.lostOf(reading.Normal) != 0 || r.lostOf(reading.Alarm) != 0 {
		t.Errorf("lost at first: %d bulk, %d normal, %d alarms", r.lostOf(reading.Bulk), r.lostOf(reading.Normal), r.lostOf(reading.Alarm))
	}
	n += r.fillUntilLost(60)
	if s := r.Stats(); s.ReservedBytes > s.MaxBytes {
		t.Errorf("%d bytes on the disk, %d are allowed", s.ReservedBytes, s.MaxBytes)
	}
	alarms := 0
	for range 2 { // after a crash, too
		r = start(t, r.killed(), nil)
		alarms = r.countLane("cloud", reading.Alarm)
		if alarms < n-8 { // the second round counts its own groups anew
			t.Errorf("%d alarms of %d are left", alarms, n)
		}
	}
	if lost := r.lostOf(reading.Alarm); lost != 0 {
		t.Errorf("%d alarms were evicted while there were others", lost)
	}
}

// A kill in the middle of evictions leaves segments of which nothing counts but
// alarms, in files of full size: those make room, and the alarms stay.
func TestAlarmsOutliveEvictionsThatAreInterrupted(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.Cursor("cloud")
	r.fillUntilLost(30)
	alarms := r.countLane("another", reading.Alarm)
	dir := r.killed()
	files := segments(t, dir)
	if err := os.Remove(files[len(files)-1]); err != nil { // it was not begun yet
		t.Fatal(err)
	}
	s, _, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	var changes []func(*bbolt.Tx) error
	err = each(s, bucketSegments, func(_ []byte, info segmentInfo) error {
		left := info.without(laneSet{reading.Bulk: true, reading.Normal: true})
		changes = append(changes, put(bucketSegments, numberKey(left.Number), left))
		return nil
	})
	if err := errors.Join(err, s.update(changes...), s.close()); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, nil)
	r.fillUntilLost(40)
	if lost := r.lostOf(reading.Alarm); lost != 0 {
		t.Errorf("%d of %d alarms were evicted while there were others", lost, alarms)
	}
	for _, s := range r.index.all() {
		if s.bytes()*worthwhile < s.End {
			t.Errorf("segment %d takes %d bytes for %d", s.Number, s.End, s.bytes())
		}
	}
}

// countLane counts what a new cursor is handed of the lane, without gap reports.
func (r *running) countLane(name string, lane reading.Lane) (n int) {
	r.t.Helper()
	for _, b := range r.everything(name) {
		if b.Lane != lane {
			continue
		}
		for _, rd := range decode(r.t, b) {
			if rd.Device != GapDevice {
				n++
			}
		}
	}
	return n
}

// everything is what a cursor is handed without waiting.
func (r *running) everything(name string) (all []wire.Block) {
	r.t.Helper()
	c := r.Cursor(name)
	for {
		blocks, err := c.look(flowsOf(reading.AllLanes, true), 1<<20)
		if err != nil {
			r.t.Fatal(err)
		}
		if len(blocks) == 0 {
			return all
		}
		all = append(all, blocks...)
	}
}

// Eviction is exact: what is neither handed out nor declared does not exist.
func TestWhatIsNotEvictedIsStillHandedOut(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.Cursor("cloud")
	n := r.fillUntilLost(50)
	r.eventually(func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.open.empty()
	})
	got := map[reading.Lane]int{}
	for lane := range reading.Lane(reading.Lanes) {
		got[lane] = r.countLane("new", lane) + int(r.lostOf(lane))
	}
	for lane, count := range got {
		if count != n {
			t.Errorf("%s: %d handed out or lost, want %d", lane, count, n)
		}
	}
}

func TestDeliveredLanesMakeRoomBeforeAnythingIsLost(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	c := r.Cursor("cloud")
	for n := range 5 * segmentSize / (1 << 20) {
		r.acceptAll(mixed(n)...)
		for { // bulk arrives, nothing else does
			blocks, err := c.look(flowsOf(reading.AllLanes, true), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if len(blocks) == 0 {
				break
			}
			if b := blocks[0]; b.Lane == reading.Bulk {
				c.Ack(b.Lane, b.First, blocks[len(blocks)-1].Last())
			}
		}
	}
	if lost := r.Stats().Lost; lost != 0 {
		t.Errorf("%d readings lost, although bulk was delivered", lost)
	}
}

func TestRefuseNewKeepsTheOldAndCountsTheNew(t *testing.T) {
	r := start(t, t.TempDir(), func(c *Config) {
		for lane := range c.Lanes {
			c.Lanes[lane].RefuseNew = true
		}
	})
	c := r.Cursor("cloud")
	stored, refused := 0, 0
	for refused < 3 {
		receipt, err := r.Accept(t.Context(), []reading.Reading{noise("a", stored, 1<<20)})
		if err == nil {
			err = receipt.Wait(t.Context())
		}
		switch {
		case err == nil:
			stored++
		case errors.Is(err, ErrFull):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if lost := r.Stats().Lost; lost != 0 {
		t.Fatalf("%d readings evicted", lost)
	}
	got := 0
	for got < stored { // the link is back
		for _, b := range r.next(c, 1<<20) {
			got += b.Count
			c.Ack(b.Lane, b.First, b.Last())
		}
	}
	r.eventually(func() bool {
		receipt, err := r.Accept(t.Context(), []reading.Reading{value(1, reading.Normal)})
		if err != nil {
			refused++
			return false
		}
		return receipt.Wait(t.Context()) == nil
	})
	r.eventually(func() bool { return r.lostOf(reading.Normal) == uint64(refused) })
	gaps, _ := r.Gaps()
	if g := gaps[0]; g.Reason != ReasonRefused || g.First != 0 || g.From == 0 || g.To < g.From {
		t.Errorf("gap %+v", g)
	}
}

// what is older than its lane's age goes, delivered or not, and a clock that
// jumps decides nothing.
func TestReadingsExpireByTheTimeThatTheyWereKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), func(c *Config) {
			began := time.Now()
			c.MaxBytes = 2 * MinBytes
			c.Lanes[reading.Bulk].MaxAge = time.Hour
			c.Clock.Uptime = func() time.Duration { return time.Since(began) }
		})
		r.Cursor("cloud")
		for n := range 20 {
			r.acceptAll(mixed(n)...) // their own times are long ago
		}
		synctest.Wait()
		pause(t.Context(), 50*time.Minute)
		if lost := r.Stats().Lost; lost != 0 {
			t.Errorf("%d readings lost after 50 minutes", lost)
		}
		pause(t.Context(), 12*time.Minute)
		synctest.Wait()
		if bulk, normal := r.lostOf(reading.Bulk), r.lostOf(reading.Normal); bulk != 14 || normal != 0 { // two segments of seven
			t.Errorf("%d bulk and %d normal readings lost after an hour", bulk, normal)
		}
		gaps, _ := r.Gaps()
		if g := gaps[0]; g.Reason != ReasonExpired {
			t.Errorf("gap %+v", g)
		}
	})
}

// a quiet gateway writes one segment for weeks.
func TestAFewReadingsExpireToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), func(c *Config) {
			began := time.Now()
			c.Lanes[reading.Normal].MaxAge = time.Hour
			c.Clock.Uptime = func() time.Duration { return time.Since(began) }
		})
		r.Cursor("cloud")
		r.acceptAll(mixed(1)...)
		pause(t.Context(), 55*time.Minute)
		if lost := r.Stats().Lost; lost != 0 {
			t.Errorf("%d readings lost before their time", lost)
		}
		pause(t.Context(), 70*time.Minute)
		synctest.Wait()
		if n := r.lostOf(reading.Normal); n != 1 {
			t.Errorf("%d normal readings lost after twice their time, want 1", n)
		}
		if n := r.lostOf(reading.Bulk) + r.lostOf(reading.Alarm); n != 0 {
			t.Errorf("%d others lost", n)
		}
	})
}

func TestAgeIsCertainOrUnknown(t *testing.T) {
	hour := int64(time.Hour)
	for name, c := range map[string]struct {
		sealed, now sealTime
		age         time.Duration
		known       bool
	}{
		"one boot, whatever the wall clock says": {sealTime{1, 1000, 5 * hour}, sealTime{1, 61000, -9000 * hour}, time.Minute, true},
		"two boots, both clocks right":           {sealTime{1, 99000, hour}, sealTime{2, 1000, 3 * hour}, 2 * time.Hour, true},
		"two boots, back by ten years":           {sealTime{1, 0, 90000 * hour}, sealTime{2, 0, hour}, -89999 * time.Hour, true},
		"sealed before the clock was set":        {sealTime{1, 5, 0}, sealTime{2, 1000, hour}, 0, false},
		"not set yet":                            {sealTime{1, 5, hour}, sealTime{2, 1000, 0}, 0, false},
		"nothing known":                          {sealTime{}, sealTime{0, 1000, hour}, 0, false},
	} {
		if age, known := c.sealed.since(c.now); age != c.age || known != c.known {
			t.Errorf("%s: %v, %v", name, age, known)
		}
	}
}

// The disk is full to the last byte, of another program's files, when the bound
// is lowered: making room takes none that is not there.
func TestEvictionNeedsNoFreeSpace(t *testing.T) {
	dir := mountSmall(t, "96m")
	r := start(t, dir, func(c *Config) { c.MaxBytes = 2 * MinBytes })
	r.Cursor("cloud")
	n := 0
	for ; len(r.index.all()) < 8; n++ {
		r.acceptAll(mixed(n)...)
	}
	r.stop()
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		for err = nil; err == nil; {
			_, err = ballast.Write(make([]byte, size))
		}
	}
	if !isNoSpace(err) {
		t.Fatal(err)
	}
	r = start(t, dir, nil)
	r.Cursor("cloud")
	for range 40 {
		r.acceptAll(mixed(n)...)
		n++
	}
	if s := r.Stats(); s.ReservedBytes > s.MaxBytes || s.Problem != "" {
		t.Errorf("%d bytes on the disk, %d are allowed; problem %q", s.ReservedBytes, s.MaxBytes, s.Problem)
	}
	if r.lostOf(reading.Bulk) == 0 || r.lostOf(reading.Alarm) != 0 {
		t.Errorf("%d bulk readings and %d alarms lost", r.lostOf(reading.Bulk), r.lostOf(reading.Alarm))
	}
	r.stop()
}
