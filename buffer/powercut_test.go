package buffer

import (
	"flag"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/rerun"
)

var (
	powerCuts    = flag.Int("powercuts", 40, "how many power cuts to explore")
	powerCutSeed = flag.Uint64("powercutseed", 0, "repeats the choices of a run; 0 takes a new seed")
)

// minCuts is how many cuts a recorded process is worth.
const minCuts = 8

// TestPowerCutLosesNothingAcknowledged records every system call with which a
// process changes the buffer's folder, cuts the power behind one of them, and
// looks at what the medium may hold then; see medium. state.db is no exception:
// its pages are among the calls. Half of the processes begin where a cut or a
// kill ended another one, so that recovery is cut, too.
func TestPowerCutLosesNothingAcknowledged(t *testing.T) {
	seed := *powerCutSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	e := explorer{T: t, rng: rand.New(rand.NewPCG(seed, 0)), hash: maphash.MakeSeed(), seen: map[uint64]bool{}}
	names := slices.Sorted(maps.Keys(workloads()))
	if *powerCuts < 1000 {
		names = slices.DeleteFunc(names, func(n string) bool { return n == "merging" }) // thousands of commits
		e.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	}
	perProcess := max(minCuts, *powerCuts/(20*len(names)))
	for process := 0; e.cuts < *powerCuts; process++ {
		e.explore(process, names[process%len(names)], min(perProcess, *powerCuts-e.cuts))
		if last := e.cuts == *powerCuts; last || process%len(names) == len(names)-1 {
			fmt.Printf("%d power cuts in %d processes, %d of which went on after a cut or a kill: %d distinct states; -powercutseed=%d\n",
				e.cuts, e.processes, e.woken, len(e.seen), seed)
		}
	}
}

// explorer cuts the power.
type explorer struct {
	*testing.T
	rng  *rand.Rand
	hash maphash.Seed

	seen                   map[uint64]bool // what folders held
	wakes                  []wake
	cuts, processes, woken int
}

// wake is what the end of a process left, for another one to go on with. After a
// kill, what was pending still is.
type wake struct {
	medium *medium
	said   said
}

// maxWakes bounds the wakes that are remembered, each of up to 32 MiB.
const maxWakes = 4

// explore records one process and cuts the power so many times in it.
func (e *explorer) explore(process int, workload string, cuts int) {
	from := wake{newMedium(nil), newSaid()}
	if len(e.wakes) > 0 && e.rng.IntN(2) == 0 {
		from = e.wakes[e.rng.IntN(len(e.wakes))]
		e.woken++
	}
	calls := e.record(from, workload, process)
	e.processes++
	at := e.places(calls, cuts)
	m, s := from.medium.clone(), from.said.clone()
	for i, c := range calls {
		if m.apply(c); c.kind == isSaid {
			s.add(string(c.data))
		}
		for range at[i] {
			e.cut(fmt.Sprintf("%s/call=%d", workload, i), calls[:i+1], m, &s)
		}
	}
}

// places chooses calls to cut behind, half of them soon after names changed, and
// returns how often each was chosen.
func (e *explorer) places(calls []call, cuts int) map[int]int {
	const soon = 12 // calls
	var all, critical []int
	changed := -soon
	for i, c := range calls {
		switch c.kind {
		case isSync, isSyncDir:
			continue // a cut behind a sync is one before it that kept everything
		case isCreate, isRename, isExchange, isLink, isUnlink:
			changed = i
		}
		all = append(all, i)
		if i-changed < soon {
			critical = append(critical, i)
		}
	}
	at := map[int]int{}
	for range cuts {
		from := all
		if len(critical) > 0 && e.rng.IntN(2) == 0 {
			from = critical
		}
		at[from[e.rng.IntN(len(from))]]++
	}
	return at
}

// record runs a workload where another one ended.
func (e *explorer) record(from wake, workload string, process int) []call {
	dir := e.folder()
	from.medium.cut(fates()["everything"](nil)).store(e.T, dir)
	cmd := rerun.Command("-test.run=^TestPowerCutWorkload$")
	cmd.Env = append(os.Environ(), "TIDEGATE_POWERCUT_DIR="+dir, "TIDEGATE_POWERCUT_WORKLOAD="+workload,
		fmt.Sprint("TIDEGATE_POWERCUT_ID=", process*10_000))
	calls := recordCalls(e.T, dir, cmd)
	e.remove(dir)
	return calls
}

// cut cuts the power now, with any of the fates, and checks what is left.
func (e *explorer) cut(place string, calls []call, m *medium, s *said) {
	all := fates()
	names := slices.Sorted(maps.Keys(all))
	fate := names[e.rng.IntN(len(names))]
	left := m.cut(all[fate](e.rng))
	e.cuts++
	if key := left.sum(e.hash) + uint64(s.lines); e.seen[key] {
		return
	} else {
		e.seen[key] = true
	}
	dir := e.folder()
	left.store(e.T, dir)
	if !e.Run(place+"/keep="+fate, func(t *testing.T) { s.check(t, dir) }) {
		for _, c := range calls {
			e.Log(c)
		}
		kept := e.folder()
		left.store(e.T, kept)
		e.Fatalf("this is what the process did; %s is what the cut left, %s what recovery made of it", kept, dir)
	}
	e.remove(dir)
	e.remember(left, m, s)
}

// remember keeps some of what processes left: after a cut, or when it is a mere
// kill that ends them now.
func (e *explorer) remember(left image, m *medium, s *said) {
	if len(e.wakes) == maxWakes && e.rng.IntN(8) > 0 {
		return
	}
	w := wake{said: s.clone()}
	if e.rng.IntN(2) == 0 {
		w.medium = newMedium(left)
	} else {
		w.medium = m.clone()
	}
	if len(e.wakes) < maxWakes {
		e.wakes = append(e.wakes, w)
	} else {
		e.wakes[e.rng.IntN(maxWakes)] = w
	}
}

// folder makes an empty folder, in memory where there is such a place.
func (e *explorer) folder() string {
	in := "/dev/shm"
	if _, err := os.Stat(in); err != nil {
		in = ""
	}
	dir, err := os.MkdirTemp(in, "powercut")
	if err != nil {
		e.Fatal(err)
	}
	return dir
}

func (e *explorer) remove(dir string) {
	if err := os.RemoveAll(dir); err != nil {
		e.Fatal(err)
	}
}

// A process that is killed before it has synced the name of a new segment leaves
// it to the next one, which finds the name in the page cache.
func TestPowerCutAfterAKillInARollLosesNothingAcknowledged(t *testing.T) {
	e := explorer{T: t, rng: rand.New(rand.NewPCG(0, 0)), hash: maphash.MakeSeed(), seen: map[uint64]bool{}}
	killed := wake{newMedium(nil), newSaid()}
	for _, c := range e.record(killed, "commits", 0) {
		if killed.medium.apply(c); c.kind == isExtend {
			break
		}
	}
	for i, c := range e.record(killed, "commits", 1) {
		killed.medium.apply(c)
		if c.kind != isSaid {
			continue
		}
		killed.said.add(string(c.data))
		left, dir := killed.medium.cut(fates()["nothing"](nil)), e.folder()
		left.store(t, dir)
		t.Run(fmt.Sprintf("call=%d", i), func(t *testing.T) { killed.said.check(t, dir) })
		e.remove(dir)
	}
}
