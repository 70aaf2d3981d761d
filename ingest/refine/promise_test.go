package refine

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
)

// gateway is a door with one connection, a chain and a custody, as they are bound
// to each other: whatever was accepted waits in groups for their commits, and an
// acknowledgement for all of them.
type gateway struct {
	chain   *Chain
	now     int64
	groups  [][]sample // accepted and not committed; the last is open
	stored  []sample
	waiting []ticket // for acknowledgements, in their order
	acked   []sample
}

// ticket is a publish that is acknowledged when so many groups more are on flash.
type ticket struct {
	sample
	groups int
}

func (g *gateway) publish(p sample) {
	g.now = max(g.now, p.t)
	rs := g.chain.Refine([]reading.Reading{p.reading()}, 0, g.now)
	if len(rs) > 0 {
		if len(g.groups) == 0 {
			g.groups = append(g.groups, nil)
		}
		last := len(g.groups) - 1
		g.groups[last] = append(g.groups[last], p)
	}
	// Whether it is in there or was left out: whatever was accepted before it
	// must be on flash.
	g.waiting = append(g.waiting, ticket{p, len(g.groups)})
	g.answer()
}

// answer acknowledges what waits for nothing.
func (g *gateway) answer() {
	for len(g.waiting) > 0 && g.waiting[0].groups <= 0 {
		g.acked = append(g.acked, g.waiting[0].sample)
		g.waiting = g.waiting[1:]
	}
}

func (g *gateway) commit() {
	if len(g.groups) == 0 {
		return
	}
	g.stored = append(g.stored, g.groups[0]...)
	g.groups = g.groups[1:]
	for i := range g.waiting {
		g.waiting[i].groups--
	}
	g.answer()
}

// fail is a commit that fails: the connection ends, the filters forget. What is
// returned will be sent again. The groups behind it may be committed yet.
func (g *gateway) fail() (again []sample) {
	if len(g.groups) == 0 {
		return nil
	}
	g.groups = g.groups[1:]
	g.chain.Forget()
	return g.hangUp()
}

func (g *gateway) hangUp() (again []sample) {
	for _, w := range g.waiting {
		again = append(again, w.sample)
	}
	g.waiting = nil
	return again
}

// An acknowledged reading is on flash, or within the deadband of the one before
// it that is: whatever fails, whoever dies, and whatever is sent again. When the
// gateway dies, what is sent again is judged anew, which may cost another
// deadband.
func TestAcknowledgedReadingsAreStoredOrStoodFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const band = 8
		step := Step{Deadband: ptr(float64(band) / 10)}
		g := &gateway{chain: newChainFor(t, step)}
		most := int64(band)
		for i, s := range walk(t) {
			s.t += int64(i) // no two at the same time
			queue := []sample{s}
			for len(queue) > 0 {
				g.publish(queue[0])
				queue = queue[1:]
				switch rapid.IntRange(0, 12).Draw(t, "then") {
				case 0:
					g.commit()
				case 1:
					if len(g.groups) > 0 && len(g.groups[len(g.groups)-1]) > 0 { // the group is closed
						g.groups = append(g.groups, nil)
					}
				case 2:
					queue = append(g.fail(), queue...)
				case 3: // the gateway dies
					most = 2 * band
					g.chain, g.groups = newChainFor(t, step), nil
					queue = append(g.hangUp(), queue...)
				case 4: // the connection ends
					queue = append(g.hangUp(), queue...)
				}
			}
		}
		for len(g.groups) > 0 {
			g.commit()
		}
		for _, a := range g.acked {
			if !stoodFor(a, g.stored, most) {
				t.Fatalf("%+v was acknowledged; stored are %+v", a, g.stored)
			}
		}
	})
}

// stoodFor reports whether one of the stored samples of the latest time that is
// not after a is within the deadband of it.
func stoodFor(a sample, stored []sample, band int64) bool {
	latest := int64(0)
	for _, s := range stored {
		if s.t <= a.t {
			latest = max(latest, s.t)
		}
	}
	for _, s := range stored {
		if s.t == latest && abs(s.tenths-a.tenths) <= band {
			return true
		}
	}
	return false
}
