package carrier

import (
	"testing"
	"time"
)

// foresee returns a link at a time in Berlin that takes so many bytes a second.
func foresee(t *testing.T, cfg Config, now string, speed float64) *Link {
	t.Helper()
	cfg.Zone = berlin(t)
	cfg.Clock.Now = func() time.Time { return at(t, now) }
	l := open(t, cfg)
	l.tally.speed = speed
	return l
}

func TestForecasts(t *testing.T) {
	night := Schedule{window(t, "0 2 * * * for 1h")}
	for _, c := range []struct {
		name   string
		cfg    Config
		demand Demand
		want   string
	}{
		{"Unlimited", Config{}, Demand{Backlog: 36_000_000}, "2026-05-04 13:00"},
		{"LiveReadingsComeOnTop", Config{}, Demand{Backlog: 18_000_000, Inflow: 5_000}, "2026-05-04 13:00"},
		{"MoreComesThanGoes", Config{}, Demand{Backlog: 1, Inflow: 10_000}, "never"},
		{"Nothing", Config{}, Demand{}, "2026-05-04 12:00"},
		{"ARateBelowTheLinks", Config{Rate: 5_000}, Demand{Backlog: 36_000_000}, "2026-05-04 14:00"},
		// 10 kB/s for an hour a night is 36 MB.
		{"NightWindow", Config{Schedule: night}, Demand{Backlog: 18_000_000}, "2026-05-05 02:30"},
		{"TwoNights", Config{Schedule: night}, Demand{Backlog: 54_000_000}, "2026-05-06 02:30"},
		// By 02:00 another 5 MB have come.
		{"InflowFillsTheNight", Config{Schedule: night}, Demand{Backlog: 1_000_000, Inflow: 100}, "2026-05-05 02:10"},
		{"DailyBudget", Config{Budget: Budget{Day: 36_000_000}}, Demand{Backlog: 54_000_000}, "2026-05-05 00:30"},
		{"DailyBudgetIgnored", Config{Budget: Budget{Day: 36_000_000, WhenSpent: SpentIgnore}}, Demand{Backlog: 54_000_000}, "2026-05-04 13:30"},
		{"ReserveIsForAlarms", Config{Budget: Budget{Day: 36_000_000, AlarmReserve: 18_000_000}}, Demand{Backlog: 54_000_000}, "2026-05-06 00:30"},
		{"MonthlyBudget", Config{Budget: Budget{Month: 36_000_000, BillingDay: 10}}, Demand{Backlog: 54_000_000}, "2026-05-10 00:30"},
		{"MonthsOfBacklog", Config{Budget: Budget{Month: 36_000_000, BillingDay: 31}}, Demand{Backlog: 126_000_000}, "2026-07-31 00:30"},
		{"NotWithinAYear", Config{Budget: Budget{Month: 1_000_000}}, Demand{Backlog: 54_000_000}, "never"},
		{"BudgetAndNight", Config{Schedule: night, Budget: Budget{Day: 18_000_000}}, Demand{Backlog: 27_000_000}, "2026-05-06 02:15"},
		// Half of the share of a day of 24 MB is left from noon on: 1 MB an hour.
		{"Spread", Config{Budget: Budget{Day: 24_000_000, Spread: true}}, Demand{Backlog: 6_000_000}, "2026-05-04 18:00"},
	} {
		l := foresee(t, c.cfg, "2026-05-04 12:00", 10_000)
		f := l.Forecast(c.demand)
		got := "never"
		if !f.Drained.IsZero() {
			got = f.Drained.Round(time.Minute).Format("2006-01-02 15:04")
		}
		if got != c.want || f.Needs != c.demand.Backlog {
			t.Errorf("%s: drained %s, want %s (%+v)", c.name, got, c.want, f)
		}
	}
}

func TestForecastWithoutMeasurementsSaysNothing(t *testing.T) {
	f := foresee(t, Config{}, "2026-05-04 12:00", 0).Forecast(Demand{Backlog: 1})
	if !f.Drained.IsZero() || !f.Lasts.IsZero() || f.Of != 0 || f.Speed != 0 {
		t.Errorf("%+v", f)
	}
}

func TestForecastTellsWhenTheBudgetIsSpent(t *testing.T) {
	l := foresee(t, Config{Budget: Budget{Month: 50_000_000, AlarmReserve: 5_000_000}}, "2026-05-05 00:00", 10_000)
	l.ledger.roll(at(t, "2026-05-04 00:00"))
	l.ledger.add(2_000_000, 1_000_000)
	l.ledger.roll(at(t, "2026-05-05 00:00"))
	f := l.Forecast(Demand{})
	if f.Left != 42_000_000 || f.Of != 50_000_000 || !f.Renews.Equal(at(t, "2026-06-01 00:00")) || !f.Lasts.Equal(at(t, "2026-05-19 00:00")) {
		t.Errorf("3 MB a day: %+v", f)
	}
	l.ledger.yesterday.billed = 1_000_000
	if f = l.Forecast(Demand{}); !f.Lasts.IsZero() {
		t.Errorf("1 MB a day lasts: %+v", f)
	}
	// The tighter of two budgets speaks.
	l.cfg.Budget.Day = 6_000_000
	if f = l.Forecast(Demand{}); f.Of != 6_000_000 || f.Left != 1_000_000 {
		t.Errorf("%+v", f)
	}
}

// TestAForecastHoldsNobodyUp: connections count while it looks ahead, and a
// schedule of short windows is looked through in little time: what it looks at is
// counted here instead of the time.
func TestAForecastHoldsNobodyUp(t *testing.T) {
	many := Schedule{window(t, "*/2 * * * * for 1m"), window(t, "1-59/4 * * * * for 1m")}
	p := plan{schedule: many}
	looked, horizon := 0, time.Time{}
	now := at(t, "2026-05-04 12:00")
	for n := range maxStrides {
		open, until := p.at(now)
		if n%50 == 0 {
			if o, u := many.At(now); o != open || !u.Equal(until) {
				t.Fatalf("at %v: %v until %v, and on its own %v until %v", now, open, until, o, u)
			}
		}
		if p.horizon != horizon {
			looked, horizon = looked+1, p.horizon
		}
		now = until
	}
	if days := int(now.Sub(at(t, "2026-05-04 12:00")) / (24 * time.Hour)); looked > days {
		t.Errorf("looked ahead %d times in %d days", looked, days)
	}
	l := foresee(t, Config{Schedule: many}, "2026-05-04 12:00", 10_000)
	_, w := l.outset(Demand{Backlog: 1e9})
	if !l.mu.TryLock() {
		t.Fatal("the link is held while the forecast is made")
	}
	defer l.mu.Unlock()
	w.drained()
}

func TestOfTwoSpentBudgetsTheLaterRenewalCounts(t *testing.T) {
	l := foresee(t, Config{Budget: Budget{Day: 1000, Month: 1000}}, "2026-05-05 12:00", 10_000)
	l.Permit()
	l.ledger.add(2000, 0)
	if f := l.Forecast(Demand{}); !f.Renews.Equal(at(t, "2026-06-01 00:00")) {
		t.Errorf("%+v", f)
	}
}
