package carrier

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

// berlin sets its clocks at 02:00 on 29 March and at 03:00 on 25 October 2026.
func berlin(t *testing.T) *time.Location { return place(t, "Europe/Berlin") }

func place(t *testing.T, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func window(t *testing.T, text string) Window {
	t.Helper()
	w, err := ParseWindow(text)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// beginnings lists when the window begins from one date on, in UTC.
func beginnings(w Window, from time.Time, n int) (all []string) {
	for range n {
		if from = w.next(from); from.IsZero() {
			return append(all, "never")
		}
		all = append(all, from.UTC().Format("2006-01-02 15:04"))
	}
	return all
}

func TestWindowsBeginWhenCronWould(t *testing.T) {
	zone := berlin(t)
	for _, c := range []struct{ text, from, want string }{
		{"0 2 * * * for 1h", "2026-05-04 00:00", "2026-05-04 00:00, 2026-05-05 00:00, 2026-05-06 00:00"},
		{"*/20 8-9 * * mon-fri for 5m", "2026-05-08 09:21", "2026-05-08 07:40, 2026-05-11 06:00, 2026-05-11 06:20"},
		{"5/25 12 1 JAN,jul * for 5m", "2026-05-04 00:00", "2026-07-01 10:05, 2026-07-01 10:30, 2026-07-01 10:55"},
		// Friday the 13th or any Monday: either of the two day fields.
		{"0 12 13 * mon for 5m", "2026-03-09 13:00", "2026-03-13 11:00, 2026-03-16 11:00, 2026-03-23 11:00"},
		// A star with a step is a star: both must fit.
		{"0 12 */2 * mon for 5m", "2026-03-01 00:00", "2026-03-09 11:00, 2026-03-23 11:00, 2026-04-13 10:00"},
		{"0 0 * * 7 for 1m", "2026-05-04 00:00", "2026-05-09 22:00, 2026-05-16 22:00"},
		{"0 0 29 2 * for 1m", "2026-05-04 00:00", "2028-02-28 23:00, 2032-02-28 23:00"},
		// The hour that is missing in spring, and the one that comes twice in autumn.
		{"30 2 * * * for 1h", "2026-03-28 12:00", "2026-03-29 01:00, 2026-03-30 00:30"},
		{"30 2 * * * for 1h", "2026-10-24 12:00", "2026-10-25 00:30, 2026-10-26 01:30"},
		{"30 * * * * for 5m", "2026-03-29 01:00", "2026-03-29 00:30, 2026-03-29 01:30, 2026-03-29 02:30"},
		{"30 * * * * for 5m", "2026-10-25 01:45", "2026-10-25 00:30, 2026-10-25 01:30, 2026-10-25 02:30"},
	} {
		from, err := time.ParseInLocation("2006-01-02 15:04", c.from, zone)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Split(c.want, ", ")
		if got := beginnings(window(t, c.text), from.Add(-time.Minute), len(want)); strings.Join(got, ", ") != c.want {
			t.Errorf("%q from %s: %s\nwant %s", c.text, c.from, strings.Join(got, ", "), c.want)
		}
	}
}

// TestClocksThatAreSetAtMidnight: 00:00 does not exist on that day.
func TestClocksThatAreSetAtMidnight(t *testing.T) {
	cairo := place(t, "Africa/Cairo") // forward at 00:00 on Friday, 24 April 2026
	from := time.Date(2026, 4, 23, 12, 0, 0, 0, cairo)
	got := strings.Join(beginnings(window(t, "0 0 * * * for 1h"), from, 2), ", ")
	if want := "2026-04-23 22:00, 2026-04-24 21:00"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if day := midnight(time.Date(2026, 4, 24, 12, 0, 0, 0, cairo)); day.Hour() != 1 || day.Day() != 24 {
		t.Errorf("the day begins at %v", day)
	}
}

func TestScheduleTellsWhenItChanges(t *testing.T) {
	zone := berlin(t)
	schedule := Schedule{
		window(t, "0 2 * * * for 1h"), window(t, "30 2 * * * for 2h"), window(t, "30 4 * * * for 10m"),
		window(t, "0 22 * * sat for 1h"),
	}
	for at, want := range map[string]string{
		"2026-05-04 01:59": "closed until 2026-05-04 02:00",
		"2026-05-04 02:00": "open until 2026-05-04 04:40",
		"2026-05-04 04:39": "open until 2026-05-04 04:40",
		"2026-05-04 04:40": "closed until 2026-05-05 02:00",
		"2026-05-09 12:00": "closed until 2026-05-09 22:00",
		"2026-05-09 22:59": "open until 2026-05-09 23:00",
	} {
		from, err := time.ParseInLocation("2006-01-02 15:04", at, zone)
		if err != nil {
			t.Fatal(err)
		}
		open, until := schedule.At(from)
		got := map[bool]string{true: "open", false: "closed"}[open] + " until " + until.Format("2006-01-02 15:04")
		if got != want {
			t.Errorf("%s: %s, want %s", at, got, want)
		}
	}
	if open, until := (Schedule{}).At(time.Now()); !open || !until.IsZero() {
		t.Errorf("no schedule: %v until %v", open, until)
	}
}

// TestAWindowOfAnHourLastsAnHour also where clocks are set meanwhile.
func TestAWindowOfAnHourLastsAnHour(t *testing.T) {
	schedule := Schedule{window(t, "30 1 * * * for 1h")}
	from := time.Date(2026, 3, 29, 1, 30, 0, 0, berlin(t))
	if open, until := schedule.At(from); !open || until.Sub(from) != time.Hour || until.Hour() != 3 {
		t.Errorf("%v until %v", open, until)
	}
}

func TestWindowsThatTouchAreOne(t *testing.T) {
	schedule := Schedule{window(t, "* * * * * for 1m")}
	from := time.Date(2026, 5, 4, 12, 0, 30, 0, time.UTC)
	if open, until := schedule.At(from); !open || until.Sub(from) < 24*time.Hour {
		t.Errorf("%v until %v", open, until)
	}
	within := Schedule{window(t, "0 12 * * * for 3h"), window(t, "0 13 * * * for 30m")}
	if open, until := within.At(from); !open || until.Format("15:04") != "15:00" {
		t.Errorf("a window within another: %v until %v", open, until)
	}
}

func TestBadWindowsAreRefusedWithAHint(t *testing.T) {
	for _, text := range []string{
		"", "0 2 * * *", "0 2 * * * for", "0 2 * * * for 1", "0 2 * * * for 30s", "0 2 * * * for 8d", "0 2 * * for 1h",
		"60 2 * * * for 1h", "0 24 * * * for 1h", "0 2 0 * * for 1h", "0 2 32 * * for 1h", "0 2 * 13 * for 1h", "0 2 * * 8 for 1h",
		"0 2 * * foo for 1h", "0 22-3 * * * for 1h", "*/0 * * * * for 1h", "*/x * * * * for 1h", "*/-1 * * * * for 1h", "1, * * * * for 1h",
		"-1 2 * * * for 1h", "+1 2 * * * for 1h", "0 0 30 2 * for 1h", "0 0 31 4,6,9,11 * for 1h", "@daily for 1h", "0 2 * mon * for 1h",
		"0 " + strings.Repeat("1,", 200) + "1 * * * for 1h",
	} {
		if _, err := ParseWindow(text); err == nil || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestCronAgreesWithTheClock walks a year minute by minute: a window is open when
// it should be by what the clock on the wall shows, without a look at how it is
// computed.
func TestCronAgreesWithTheClock(t *testing.T) {
	for _, text := range []string{"*/17 3,14-16/2 * * * for 1m", "7 */5 1-10 */2 tue,thu for 1m", "0 0 * feb-apr 0 for 1m"} {
		w := window(t, text)
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		next := w.next(at.Add(-time.Minute))
		for end := at.AddDate(1, 0, 0); at.Before(end); at = at.Add(time.Minute) {
			c := w.cron
			fits := c.minutes>>at.Minute()&1 == 1 && c.hours>>at.Hour()&1 == 1 && c.onDay(at)
			if fits != at.Equal(next) {
				t.Fatalf("%q at %v: fits %v, next %v", text, at, fits, next)
			}
			if fits {
				next = w.next(at)
			}
		}
	}
}

func FuzzWindow(f *testing.F) {
	for _, seed := range []string{"0 2 * * * for 1h", "*/20 8-9 * * mon-fri for 5m", "30 2 29 2 0 for 7d", "0 0 30 2 * for 1m", "1,2,3-5/2 * */9 jan * for 1h30m"} {
		f.Add(seed, int64(1_774_746_000))
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, second int64) {
		w, err := ParseWindow(text)
		if err != nil {
			if !strings.Contains(err.Error(), " — hint: ") {
				t.Errorf("%q: no hint in %v", text, err)
			}
			return
		}
		if again, err := ParseWindow(w.String()); err != nil || again != w {
			t.Errorf("%q became %v, %v", text, again, err)
		}
		from := time.Unix(second&(1<<32-1), 0).In(zone)
		next := w.next(from)
		if next.IsZero() || !next.After(from) {
			t.Fatalf("%q after %v: %v", text, from, next)
		}
		if open, until := (Schedule{w}).At(next); !open || until.Before(next.Add(w.length)) {
			t.Errorf("%q at %v: %v until %v", text, next, open, until)
		}
		if open, until := (Schedule{w}).At(from); !open && !until.Equal(next) {
			t.Errorf("%q at %v: closed until %v, next is %v", text, from, until, next)
		}
	})
}
