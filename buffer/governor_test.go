package buffer

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/reading"
)

const day = 24 * time.Hour

// load says when the next reading comes after now.
type load func(rng *rand.Rand, now time.Duration) time.Duration

// TestNoDayOfAnyLoadSpendsMoreThanItsBudget plays a day of commits in virtual
// time. The budget may only be exceeded where max_ack_delay alone, with one
// commit a delay, costs more; and then the governor says so.
func TestNoDayOfAnyLoadSpendsMoreThanItsBudget(t *testing.T) {
	every := func(d time.Duration) load { return func(*rand.Rand, time.Duration) time.Duration { return d } }
	for name, c := range map[string]struct {
		load   load
		commit int64 // bytes
		perDay int64
		delay  time.Duration
	}{
		"one sensor, once a minute":      {every(time.Minute), 4300, 4e9, 250 * time.Millisecond},
		"one sensor, once a second":      {every(time.Second), 4300, 4e9, 250 * time.Millisecond},
		"a hundred a second":             {every(10 * time.Millisecond), 4300, 4e9, 250 * time.Millisecond},
		"a thousand a second":            {every(time.Millisecond), 8600, 4e9, 250 * time.Millisecond},
		"random":                         {func(r *rand.Rand, _ time.Duration) time.Duration { return time.Duration(r.ExpFloat64() * 5e7) }, 4300, 4e9, 250 * time.Millisecond},
		"bursts at the top of the hour":  {burstEvery(time.Hour, 10*time.Minute), 4300, 4e9, 250 * time.Millisecond},
		"gentle, a hundred a second":     {every(10 * time.Millisecond), 4300, 1e9, time.Second},
		"more than the delay can afford": {every(10 * time.Millisecond), 40 << 10, 4e9, 250 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			spent, commits, late, debt := playDay(c.load, c.commit, c.perDay, c.delay)
			t.Logf("%d commits, %.2f GB of %.2f GB, longest wait %v, in debt %v", commits, float64(spent)/1e9, float64(c.perDay)/1e9, late, debt)
			if late > c.delay {
				t.Errorf("a group waited %v, at most %v is allowed", late, c.delay)
			}
			forced := int64(day/c.delay) * c.commit
			if spent > c.perDay && forced <= c.perDay {
				t.Errorf("spent %d of %d bytes, and the delay did not force it", spent, c.perDay)
			}
			if spent > c.perDay && !debt {
				t.Error("over the budget, and it does not say so")
			}
			if spent <= c.perDay && debt {
				t.Error("within the budget, and it says that it is not")
			}
		})
	}
}

func burstEvery(period, length time.Duration) load {
	return func(_ *rand.Rand, now time.Duration) time.Duration {
		if now%period < length {
			return 5 * time.Millisecond
		}
		return 30 * time.Second
	}
}

// playDay returns what a day of the load spends.
func playDay(next load, commit, perDay int64, delay time.Duration) (spent int64, commits int, late time.Duration, debt bool) {
	rng := rand.New(rand.NewPCG(1, 1))
	start := time.Unix(0, 0)
	g := newGovernor(perDay, delay, start)
	for now := time.Duration(0); now < day; {
		born := start.Add(now)
		due := g.due(born, born)
		if due.Before(born) {
			due = born
		}
		g.spend(due, commit)
		spent += commit
		commits++
		late = max(late, due.Sub(born))
		debt = debt || g.inDebt()
		for at := now; ; { // what comes until the commit is in it
			at += max(next(rng, at), time.Microsecond)
			if start.Add(at).After(due) {
				now = at
				break
			}
		}
	}
	return spent, commits, late, debt
}

func TestLoneSensorIsCommittedAtOnceWhileThereAreTokens(t *testing.T) {
	for profile, perDay := range map[string]int64{"speed": 0, "balanced": 4e9, "gentle": 1e9} {
		now := time.Unix(1000, 0)
		g := newGovernor(perDay, time.Second, now)
		for range 100 {
			if due := g.due(now, now); due.After(now) {
				t.Fatalf("%s: waits %v with tokens left", profile, due.Sub(now))
			}
			g.spend(now, 4096)
			now = now.Add(5 * time.Second)
		}
	}
}

func TestSpentBudgetMakesGroupsWaitForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir(), func(c *Config) { c.FlashBudget, c.MaxAckDelay = 4e9, 250*time.Millisecond })
		b.governor.tokens = -1e9
		r := runBuffer(t, b)
		defer r.stop()
		began := time.Now()
		for i := range 10 {
			receipt, err := r.Accept(t.Context(), []reading.Reading{{Device: "a", Metric: "m", Time: int64(i + 1)}})
			if err != nil {
				t.Fatal(err)
			}
			if i == 9 {
				err = receipt.Wait(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 250*time.Millisecond {
			t.Errorf("acknowledged after %v, want max_ack_delay", took)
		}
		if s := r.Stats(); s.Commits != 1 || !s.OverBudget {
			t.Errorf("%d commits, over budget %v; want one, and that it says so", s.Commits, s.OverBudget)
		}
	})
}
