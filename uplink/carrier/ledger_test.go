package carrier

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	tm, err := time.ParseInLocation("2006-01-02 15:04", text, berlin(t))
	if err != nil {
		t.Fatal(err)
	}
	return tm
}

// book returns a ledger whose clock is right at the given time.
func book(t *testing.T, b Budget, now string) *ledger {
	t.Helper()
	l := newLedger(b, berlin(t))
	l.roll(at(t, now))
	return l
}

func want(t *testing.T, l *ledger, day, month int64) {
	t.Helper()
	if l.usedDay() != day || l.usedMonth() != month {
		t.Errorf("used %d of the day and %d of the month, want %d and %d", l.usedDay(), l.usedMonth(), day, month)
	}
}

func TestDaysAndMonthsBeginAnew(t *testing.T) {
	l := book(t, Budget{}, "2026-01-30 10:00")
	l.add(100, 20)
	want(t, l, 120, 120)
	l.roll(at(t, "2026-01-30 23:59"))
	want(t, l, 120, 120)
	l.roll(at(t, "2026-01-31 00:00"))
	l.add(1, 0)
	want(t, l, 1, 121)
	l.roll(at(t, "2026-02-01 00:00"))
	want(t, l, 0, 0)
	if l.lastMonth.sent != 101 || l.lastMonth.received != 20 {
		t.Errorf("last month: %+v", l.lastMonth)
	}
}

func TestBillingDay(t *testing.T) {
	for _, c := range []struct {
		day                 int
		now, begins, before string
	}{
		{1, "2026-03-01 00:00", "2026-03-01", "2026-04-01"},
		{15, "2026-03-14 23:59", "2026-02-15", "2026-03-15"},
		{15, "2026-03-15 00:00", "2026-03-15", "2026-04-15"},
		{31, "2026-02-27 12:00", "2026-01-31", "2026-02-28"},
		{31, "2026-02-28 12:00", "2026-02-28", "2026-03-31"},
		{31, "2026-05-01 12:00", "2026-04-30", "2026-05-31"},
		{29, "2028-02-29 12:00", "2028-02-29", "2028-03-29"},
		{5, "2026-01-04 12:00", "2025-12-05", "2026-01-05"},
		{31, "2026-12-31 00:00", "2026-12-31", "2027-01-31"},
	} {
		l := newLedger(Budget{BillingDay: c.day}, berlin(t))
		begins, ends := l.month(at(t, c.now))
		if b, e := begins.Format(time.DateOnly), ends.Format(time.DateOnly); b != c.begins || e != c.before || begins.Hour() != 0 {
			t.Errorf("billing day %d at %s: %s to %s, want %s to %s", c.day, c.now, b, e, c.begins, c.before)
		}
	}
}

func TestAClockThatIsSetBackTakesNothingAway(t *testing.T) {
	t.Run("OverMidnight", func(t *testing.T) {
		l := book(t, Budget{}, "2026-05-04 23:50")
		l.add(1000, 0)
		l.roll(at(t, "2026-05-05 00:10")) // the clock is fast
		l.add(50, 0)
		l.roll(at(t, "2026-05-04 23:55")) // and is set
		want(t, l, 1050, 1050)
		l.roll(at(t, "2026-05-05 00:00"))
		want(t, l, 0, 1050)
	})
	t.Run("FromTheFarFuture", func(t *testing.T) {
		l := book(t, Budget{}, "2026-05-04 12:00")
		l.add(1000, 0)
		l.roll(at(t, "2099-01-01 00:00"))
		l.add(50, 0)
		want(t, l, 50, 50)
		l.roll(at(t, "2026-05-04 12:01"))
		want(t, l, 1050, 1050)
		l.roll(at(t, "2026-06-01 00:00"))
		want(t, l, 0, 0)
	})
	t.Run("FromTheFutureToAnotherDay", func(t *testing.T) {
		l := book(t, Budget{}, "2026-05-04 12:00")
		l.add(1000, 0)
		l.roll(at(t, "2099-01-01 00:00"))
		l.add(50, 0)
		l.roll(at(t, "2026-05-09 12:00"))
		want(t, l, 50, 1050)
	})
	t.Run("BeforeAnyClockWasRight", func(t *testing.T) {
		l := newLedger(Budget{}, berlin(t))
		l.add(7, 0)
		want(t, l, 7, 7)
		l.roll(at(t, "2026-05-04 12:00"))
		want(t, l, 7, 7)
	})
}

// TestSettingTheClockNeverCountsLess sets it to and fro at random: what has been
// counted since the last beginning of a month that is a true one stays counted.
func TestSettingTheClockNeverCountsLess(t *testing.T) {
	l := book(t, Budget{}, "2026-05-10 12:00")
	var counted int64
	for i := range 1000 {
		l.add(int64(i%17), 3)
		counted += int64(i%17) + 3
		back := at(t, "2026-05-10 12:00").Add(time.Duration(i*7919%26000-13000) * time.Minute) // 9 days to and fro
		l.roll(back)
		if l.usedMonth() < counted || l.usedDay() > l.usedMonth() {
			t.Fatalf("step %d at %v: %d of the day, %d of the month, want %d", i, back, l.usedDay(), l.usedMonth(), counted)
		}
	}
}

func TestBlocksAreRoundedUpAsOperatorsDo(t *testing.T) {
	session := book(t, Budget{Block: 1000}, "2026-05-04 12:00")
	session.add(1, 0)
	want(t, session, 1000, 1000)
	session.add(999, 0)
	want(t, session, 1000, 1000)
	session.endSession()
	session.endSession() // nothing was open
	want(t, session, 1000, 1000)
	session.add(0, 1)
	session.roll(at(t, "2026-05-05 00:00")) // ends it for the operator
	want(t, session, 0, 2000)
	session.add(0, 1)
	want(t, session, 1000, 3000)

	day := book(t, Budget{Block: 1000, Per: PerDay}, "2026-05-04 12:00")
	for range 3 {
		day.add(100, 0)
		day.endSession()
	}
	want(t, day, 1000, 1000)
	day.roll(at(t, "2026-05-05 00:00"))
	day.add(1, 0)
	want(t, day, 1000, 2000)

	month := book(t, Budget{Block: 1000, Per: PerMonth}, "2026-05-04 12:00")
	month.add(100, 0)
	month.roll(at(t, "2026-05-05 00:00"))
	month.add(100, 0)
	want(t, month, 100, 1000)

	moved := book(t, Budget{Block: 1000, Per: PerDay}, "2026-05-04 12:00")
	moved.add(100, 0)
	moved.zone, moved.ends, moved.billingDay = time.UTC, 0, 3 // after a restart
	moved.roll(at(t, "2026-05-04 12:01"))
	moved.add(100, 0)
	want(t, moved, 1000, 1000)
}

func TestWhatABudgetLetsPass(t *testing.T) {
	for _, c := range []struct {
		name   string
		budget Budget
		used   int64
		want   reading.LaneSet
	}{
		{"NoBudget", Budget{}, 1 << 40, reading.AllLanes},
		{"Left", Budget{Day: 1000}, 999, reading.AllLanes},
		{"Spent", Budget{Day: 1000}, 1000, alarms},
		{"SpentBeyond", Budget{Month: 1000}, 5000, alarms},
		{"Stop", Budget{Month: 1000, WhenSpent: SpentStop}, 1000, 0},
		{"StopIsNotYet", Budget{Month: 1000, WhenSpent: SpentStop}, 999, reading.AllLanes},
		{"Reserve", Budget{Month: 1000, AlarmReserve: 100}, 899, reading.AllLanes},
		{"ReserveBegun", Budget{Month: 1000, AlarmReserve: 100, WhenSpent: SpentStop}, 900, alarms},
		{"ReserveSpent", Budget{Month: 1000, AlarmReserve: 100, WhenSpent: SpentStop}, 1000, 0},
		{"Ignore", Budget{Day: 1000, WhenSpent: SpentIgnore}, 5000, reading.AllLanes},
		{"TheTighterOne", Budget{Day: 1000, Month: 5000}, 1000, alarms},
	} {
		l := book(t, c.budget, "2026-05-04 12:00")
		l.add(c.used, 0)
		if got := c.budget.lanes(l); got != c.want {
			t.Errorf("%s: %03b, want %03b", c.name, got, c.want)
		}
	}
}

func TestASpreadBudgetLastsTheDay(t *testing.T) {
	b := Budget{Day: 2400, Spread: true}
	l := book(t, b, "2026-05-04 00:00")
	var sent int64
	now, end := at(t, "2026-05-04 00:00"), at(t, "2026-05-05 00:00")
	var rests int
	for now.Before(end) {
		if until := b.rest(l, now); !until.IsZero() {
			if !until.After(now) || until.After(end) {
				t.Fatalf("at %v rests until %v", now, until)
			}
			if until.Before(end) && until.Sub(now) < 25*time.Minute {
				t.Errorf("at %v rests until %v: for less than a lump", now, until)
			}
			rests++
			now = until
			continue
		}
		l.add(10, 0)
		sent += 10
		if part := float64(sent) / 2400; part > now.Sub(at(t, "2026-05-04 00:00")).Hours()/24+1./headStart+10./2400 {
			t.Fatalf("%d sent at %v", sent, now)
		}
		now = now.Add(time.Second)
	}
	if sent < 2300 || sent > 2400 || rests < 20 || rests > 60 {
		t.Errorf("%d sent of 2400, in %d rests", sent, rests)
	}
}

func TestASpreadMonthIsSharedByItsDays(t *testing.T) {
	b := Budget{Month: 31_000, Spread: true, AlarmReserve: 0}
	l := book(t, b, "2026-05-01 00:00")
	if share := b.share(l, at(t, "2026-05-01 00:00")); share != 1000 {
		t.Errorf("the first day's share is %d", share)
	}
	l.add(16_000, 0) // an outage ended
	l.roll(at(t, "2026-05-02 00:00"))
	if share := b.share(l, at(t, "2026-05-02 00:00")); share != 500 {
		t.Errorf("the second day's share is %d", share)
	}
	l.add(500, 0) // what is used today does not change today's share
	if share := b.share(l, at(t, "2026-05-02 00:00")); share != 500 {
		t.Errorf("the second day's share became %d", share)
	}
	l.roll(at(t, "2026-05-31 12:00"))
	if share := b.share(l, at(t, "2026-05-31 00:00")); share != 14_500 {
		t.Errorf("the last day's share is %d", share)
	}
}

func TestStateSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "links", "lte")
	s, r, _, err := openState(path)
	if err != nil || r != nil {
		t.Fatalf("a new file: %+v, %v", r, err)
	}
	l := book(t, Budget{}, "2026-05-04 12:00")
	for i := range int64(5) {
		l.add(i, 1)
		if err := s.save(*l, i == 4); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	again, r, aside, err := openState(path)
	if err != nil || aside != "" || r == nil {
		t.Fatal(r, aside, err)
	}
	defer again.close()
	if !r.clean || r.today != l.today || r.thisMonth != l.thisMonth || r.seen != l.seen || again.seq != 5 {
		t.Errorf("%+v, saved %+v", r, l)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 2*slotBytes {
		t.Errorf("%v, %v", info, err)
	}
}

// TestATornSaveCostsThatSaveAlone cuts the last save at every byte.
func TestATornSaveCostsThatSaveAlone(t *testing.T) {
	old, young := record{seq: 6}, record{seq: 7}
	old.today.open, young.today.open = 1111, 22222
	for n := range slotBytes {
		raw := append(old.encode(), make([]byte, slotBytes)...)
		before := record{seq: 5}
		copy(raw[slotBytes:], before.encode())
		copy(raw[slotBytes:], young.encode()[:n])
		r := newest(raw)
		if r == nil || r.seq == 7 && r.today.open != 22222 || r.seq == 6 && r.today.open != 1111 || r.seq < 6 {
			t.Fatalf("cut at %d: %+v", n, r)
		}
	}
}

func TestAForeignStateIsSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lte")
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, r, aside, err := openState(path)
	if err != nil || r != nil || aside != path+".broken" {
		t.Fatal(r, aside, err)
	}
	s.close()
	if text, err := os.ReadFile(aside); err != nil || string(text) != "hello" {
		t.Errorf("%q, %v", text, err)
	}
}

// What a later version has counted is never written over, and damage is.
func TestAStateOfALaterVersionIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lte")
	later := append([]byte("tidegate-link 2 7 1 {} 00000000\n"), make([]byte, slotBytes)...)
	for n := 1; n <= 3; n++ {
		if err := os.WriteFile(path, later, 0o600); err != nil {
			t.Fatal(err)
		}
		s, r, kept, err := openState(path)
		if err != nil || r != nil || kept != fmt.Sprint(path, ".later-", n) {
			t.Fatal(r, kept, err)
		}
		s.close()
		if text, err := os.ReadFile(kept); err != nil || !bytes.Equal(text, later) {
			t.Errorf("%q, %v", text, err)
		}
	}
	for _, text := range []string{"tidegate-link 1 x", "tidegate-link 22", "tidegate-link two 2", "tidegate-links 2 "} {
		if isLater([]byte(text)) {
			t.Errorf("%q is taken for a later version's", text)
		}
	}
}

func FuzzRecord(f *testing.F) {
	r := record{seq: 3, clean: true}
	r.today.sent, r.seen = 5, 1_774_746_000
	f.Add(r.encode())
	f.Add([]byte(strings.Repeat(stateMark+" ", 300)))
	f.Add([]byte(stateMark + " 1 1\n"))
	f.Fuzz(func(t *testing.T, slot []byte) {
		r, err := parseRecord(slot)
		if err != nil {
			return
		}
		if again, err := parseRecord(r.encode()); err != nil || again != r {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}

// What is on its way to flash is as little there as what is not: a disk that takes its
// time must not let more pass than a kill may forget.
func TestWhatIsBeingSavedIsAtStake(t *testing.T) {
	l := open(t, Config{Name: "lte", Budget: Budget{Month: 3_000_000}, State: filepath.Join(t.TempDir(), "lte")})
	l.tally.keeping = make(chan struct{}) // as Run does
	l.count(passed{sent: l.maxUnsaved()}, nil, false)
	_, atStake := l.toSave()
	if l.count(passed{sent: l.maxUnsaved()}, nil, false); l.owes() == nil {
		t.Error("more may pass, with as much as may be forgotten at stake")
	}
	l.saved(atStake, nil)
	if l.owes() != nil {
		t.Error("nothing more may pass, with half as much as may be forgotten at stake")
	}
	_, atStake = l.toSave()
	if l.saved(atStake, syscall.EIO); l.tally.unsaved != l.maxUnsaved() {
		t.Errorf("%d bytes are at stake, want %d", l.tally.unsaved, l.maxUnsaved())
	}
}
