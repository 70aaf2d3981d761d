package buffer

import (
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

var accountSeed = flag.Uint64("accountseed", 0, "repeats a run of TestAccountsAgreeWhateverMakesRoom; 0 takes new seeds")

// TestAccountsAgreeWhateverMakesRoom commits, delivers, acknowledges, merges,
// expires and kills in random order on a buffer that is full most of the time.
// In the end every sink has had each reading, or was told that it is lost, once;
// with state.db lost, at least once.
func TestAccountsAgreeWhateverMakesRoom(t *testing.T) {
	for range 2 {
		seed := *accountSeed
		if seed == 0 {
			seed = rand.Uint64()
		}
		a := accounts{T: t, Rand: rand.New(rand.NewPCG(seed, 0)), had: map[string]*[reading.Lanes]ranges{}}
		a.b = open(t, t.TempDir(), func(c *Config) { c.MaxBytes = 2 * MinBytes })
		a.begin()
		for range 150 {
			a.step()
		}
		if a.close(); t.Failed() {
			t.Fatalf("-accountseed=%d", seed)
		}
	}
}

// accounts is what the sinks have had, by their names.
type accounts struct {
	*testing.T
	*rand.Rand
	b      *Buffer
	had    map[string]*[reading.Lanes]ranges
	flying map[string][]flightRange
	lost   bool  // state.db was
	told   []Gap // what it knew then
	groups int
}

type flightRange struct {
	reading.Lane
	numberRange
}

// begin opens the places of the sinks, as every start does.
func (a *accounts) begin() {
	a.flying = map[string][]flightRange{}
	for _, sink := range []string{"cloud", "archive"} {
		a.b.Cursor(sink)
		if a.had[sink] == nil {
			a.had[sink] = &[reading.Lanes]ranges{}
		}
	}
}

func (a *accounts) step() {
	sink := []string{"cloud", "archive"}[a.IntN(2)]
	switch a.IntN(20) {
	default:
		a.commit()
	case 1, 2, 3, 4:
		a.deliver(sink)
	case 5, 6, 7, 8:
		a.acknowledge(sink)
	case 9:
		a.merge()
	case 10:
		a.b = kill(a.T, a.b)
		a.begin()
	case 11:
		a.b.saveCursors()
	case 12:
		a.take()
	case 13:
		if a.IntN(4) == 0 {
			a.purge(sink)
		}
	case 14:
		if a.IntN(8) == 0 {
			a.lose()
		}
	}
}

// commit writes lanes in changing shares, so that all of them are evicted now and
// then.
func (a *accounts) commit() {
	var rs []reading.Reading
	for lane := range reading.Lane(reading.Lanes) {
		r := noise("a", a.groups, []int{10, 100 << 10, 1 << 20}[a.IntN(3)])
		r.Lane = lane
		rs = append(rs, r)
	}
	a.groups++
	a.take(rs[:1+a.IntN(int(reading.Lanes))]...)
}

// take commits the readings, and the reports of gaps that wait.
func (a *accounts) take(rs ...reading.Reading) {
	if len(rs) > 0 || !a.b.open.empty() {
		commitGroup(a.T, a.b, rs...)
	}
}

func (a *accounts) deliver(sink string) {
	got, err := a.b.cursors[sink].look(flowsOf(reading.AllLanes, true), 1<<20)
	if err != nil {
		a.Fatal(err)
	}
	for _, blk := range got {
		a.flying[sink] = append(a.flying[sink], flightRange{blk.Lane, numberRange{blk.First, blk.Last()}})
	}
}

func (a *accounts) acknowledge(sink string) {
	if fs := a.flying[sink]; len(fs) > 0 {
		i := a.IntN(len(fs))
		a.flying[sink] = slices.Delete(slices.Clone(fs), i, i+1)
		had := a.had[sink]
		had[fs[i].Lane] = had[fs[i].Lane].add(fs[i].First, fs[i].Last)
		a.b.cursors[sink].Ack(fs[i].Lane, fs[i].First, fs[i].Last)
	}
}

func (a *accounts) merge() {
	all := a.b.sealedSegments()
	if len(all) == 0 {
		return
	}
	s := all[a.IntN(len(all))]
	after, err := a.b.copySegment(s, mergedSuffix, func(out *segmentCopy) (func(wire.Block) error, func() error) {
		j := &joiner{merger: wire.NewMerger(), emit: out.write}
		return j.add, j.end
	})
	if err == nil && a.IntN(4) == 0 { // it is evicted meanwhile, or changes
		a.commit()
	}
	a.b.finishMerge(merged{s, after, err})
}

func (a *accounts) purge(sink string) {
	if _, err := a.b.Purge(a.Context(), Purge{Sink: sink, Lanes: []reading.Lane{reading.Lane(a.IntN(reading.Lanes))}}); err != nil {
		a.Fatal(err)
	}
}

// lose loses state.db. Places of sinks lag from then on, and losses may be told
// again.
func (a *accounts) lose() {
	a.lost, a.told = true, append(a.told, a.gaps()...)
	path := a.b.state.path()
	a.b = killBefore(a.T, a.b, func() { os.Remove(path) })
	a.begin()
}

func (a *accounts) gaps() []Gap {
	gaps, err := a.b.Gaps()
	if err != nil {
		a.Fatal(err)
	}
	return gaps
}

// close lets both sinks have the rest, and compares.
func (a *accounts) close() {
	a.b = kill(a.T, a.b)
	a.begin()
	a.take()
	for sink, had := range a.had {
		for {
			got, err := a.b.cursors[sink].look(flowsOf(reading.AllLanes, true), 1<<20)
			if err != nil {
				a.Fatal(err)
			}
			if len(got) == 0 {
				break
			}
			for _, blk := range got {
				had[blk.Lane] = had[blk.Lane].add(blk.First, blk.Last())
			}
		}
	}
	for !a.b.open.empty() { // losses that were found on the way
		a.take()
	}
	gaps := append(a.gaps(), a.told...)
	for sink, had := range a.had {
		for lane := range reading.Lane(reading.Lanes) {
			var told ranges
			for _, g := range gaps {
				if g.Lane == lane.String() && (len(g.Sinks) == 0 || slices.Contains(g.Sinks, sink)) {
					if n := told.overlap(g.First, g.Last); n > 0 && !a.lost {
						a.Errorf("%s: told twice of %d of %+v", sink, n, g)
					}
					told = told.add(g.First, g.Last)
					if g.Reason != ReasonEvicted && g.Reason != ReasonPurged && !a.lost {
						a.Errorf("%s: %+v", sink, g)
					}
				}
			}
			if missing := had[lane].union(told).missing(1, a.b.index.newest(lane)-min(a.b.index.newest(lane), uint64(1))); len(missing) > 0 {
				a.Errorf("%s neither had nor was told of %s %v", sink, lane, missing)
			}
		}
	}
	a.b.Close()
}
