package daemon

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/cloud"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

var kills = flag.Int("kills", 24, "how many times the storm kills the gateway")

// longestChapter is how many kills a folder has to survive before it is audited.
const longestChapter = 100

// TestKillStormLosesNothing kills the gateway, as a program, at random moments
// while sensors publish in all lanes and with either promise of MQTT, its clouds
// come and go, and its buffer overflows; and starts it again on the same folder.
// In the end every message that was acknowledged is in the clouds, once, or was
// declared lost because the buffer was full; and every hole in the numbers of
// readings is declared.
func TestKillStormLosesNothing(t *testing.T) {
	kinds, seed := chapterKinds(), seedOf(t)
	if *kills < longestChapter {
		kinds = shortStorm(kinds)
	}
	length := min(longestChapter, max(*kills/len(kinds), 1))
	var total tally
	begun := time.Now()
	for n := 0; total.kills < *kills; n++ {
		kind := kinds[n%len(kinds)]
		ok := t.Run(fmt.Sprintf("chapter=%d", n), func(t *testing.T) {
			c := newChapter(t, kind, rand.New(rand.NewPCG(seed, uint64(n))), &total)
			c.startLoad()
			for range length {
				c.round()
			}
			c.end()
		})
		total.kills += length
		if !ok {
			break
		}
		fmt.Printf("chapter %d, %s: %v so far\n", n, kind.name, &total)
	}
	overflows := slices.ContainsFunc(kinds, func(k chapterKind) bool { return k.overflow })
	if overflows && total.declared == 0 && !t.Failed() {
		t.Error("the buffer never overflowed: nothing is proved about that")
	}
	fmt.Printf("SEED=%d: %v; %v a kill\n%v\n", seed, &total, (time.Since(begun) / time.Duration(max(total.kills, 1))).Round(time.Millisecond), &total.starts)
}

// shortStorm leaves the kinds that have everything. Under the race detector, tens of
// MiB take too long to overflow a buffer with.
func shortStorm(kinds []chapterKind) []chapterKind {
	return slices.DeleteFunc(kinds, func(k chapterKind) bool {
		return !k.archive || k.overflow && raceDetected()
	})
}

// tally is what the storm has found so far.
type tally struct {
	kills int
	// acked messages, those of them that were declared lost, and those that are
	// gone; rows that are there twice; readings that came again and count once;
	// and acknowledged messages that a subscriber wanted.
	acked, declared, lost, twice, again, heard uint64
	starts                                     startTimes
}

func (t *tally) String() string {
	return fmt.Sprintf("%d kills: %d messages acknowledged, %d lost, %d twice; %d declared lost when the buffer was full, %d readings came again and count once; %d messages for a subscriber",
		t.kills, t.acked, t.lost, t.twice, t.declared, t.again, t.heard)
}

// auditShore holds what a cloud has against what was acknowledged.
func (c *chapter) auditShore(s *shore) {
	c.Helper()
	export := s.export()
	v, err := firmwaresim.Audit(c.ledger, export)
	if err != nil {
		c.Fatal(err)
	}
	export.Close()
	lanes, err := s.store.Ledger()
	if err != nil {
		c.Fatal(err)
	}
	stored, declared := uint64(0), uint64(0)
	for _, l := range lanes {
		gone := undelivered(l)
		if l.Lane == "alarm" && gone > 0 {
			c.Errorf("%s, epoch %s: %d alarms went, and other readings did not", s.name, l.Epoch, gone)
		}
		stored += l.Readings
		declared += gone
		c.tally.again += l.Duplicates
		if l.MissingReadings > 0 {
			c.Errorf("%s, epoch %s, lane %s: %v is neither here nor declared", s.name, l.Epoch, l.Lane, l.Missing)
		}
	}
	if s == c.shores[0] {
		c.tally.acked += v.Acked
	}
	c.tally.twice += v.Twice
	if v.Twice > 0 || v.Acked == 0 {
		c.Errorf("%s: %v", s.name, v)
	}
	c.checkExactlyOnce(s)
	lost := v.Lost
	if c.blobs != nil {
		if s == c.shores[0] {
			c.tally.acked += uint64(c.blobs.countAcked())
		}
		lost += uint64(len(c.blobs.missingFrom(s.address)))
	}
	if lost > declared || lost > 0 && !c.kind.overflow {
		c.tally.lost += lost
		c.Errorf("%s: %d messages are lost and %d readings declared; the first: %v", s.name, lost, declared, v.FirstLost)
		return
	}
	c.tally.declared += lost
	if copies := c.copies(s); stored+declared > copies {
		c.Errorf("%s: %d readings are here and %d declared lost, of %d that ever were", s.name, stored, declared, copies)
	}
}

// checkExactlyOnce checks that no message of QoS 2 was stored twice, however often
// its sensor had to send it.
func (c *chapter) checkExactlyOnce(s *shore) {
	c.Helper()
	var row struct {
		Device string
		Value  any
	}
	export := s.export()
	defer export.Close()
	rows, stored := bufio.NewScanner(export), map[string]bool{}
	rows.Buffer(nil, 1<<20)
	for rows.Scan() {
		if !bytes.Contains(rows.Bytes(), []byte(`"metric":"seq"`)) {
			continue
		}
		if err := json.Unmarshal(rows.Bytes(), &row); err != nil {
			c.Fatal(err)
		}
		if !strings.Contains(row.Device, "exactly-") && !strings.HasPrefix(row.Device, "bulk-") {
			continue
		}
		sample := fmt.Sprint(row.Device, " ", row.Value)
		if stored[sample] {
			c.tally.twice++
			c.Errorf("%s has %s twice, which was published at QoS 2", s.name, sample)
		}
		stored[sample] = true
	}
	if err := rows.Err(); err != nil || len(stored) == 0 {
		c.Errorf("%s has %d messages of QoS 2: %v", s.name, len(stored), err)
	}
}

// copies is how many readings there can be at most: every message as often as it
// was sent, and the news of gaps.
func (c *chapter) copies(s *shore) uint64 {
	c.Helper()
	n := c.scout.seq
	for _, f := range c.fleets {
		const metrics = 5 // of a message
		st := f.Stats()
		n += metrics * (st.Published + st.Republished)
	}
	if c.blobs != nil {
		st := c.blobs.client.Stats()
		n += st.Published + st.Republished
	}
	return n + uint64(len(c.exportFrom(s.address, "?device="+url.QueryEscape(buffer.GapDevice))))
}

// compareShores checks that what one cloud has and the other has not was declared.
func (c *chapter) compareShores(a, b *shore) {
	c.Helper()
	lanesOf := func(s *shore) map[string]cloud.LaneLedger {
		all, err := s.store.Ledger()
		if err != nil {
			c.Fatal(err)
		}
		lanes := map[string]cloud.LaneLedger{}
		for _, l := range all {
			lanes[l.Epoch+" "+l.Lane] = l
		}
		return lanes
	}
	lanesA, lanesB := lanesOf(a), lanesOf(b)
	check := func(s *shore, lane string, here, there cloud.LaneLedger) {
		if missing := without(without(there.Ranges, here.Ranges), gapRanges(here)); len(missing) > 0 {
			c.Errorf("%s does not have %v of lane %s, and was not told", s.name, missing, lane)
		}
	}
	for lane := range lanesA {
		check(b, lane, lanesB[lane], lanesA[lane])
	}
	for lane := range lanesB {
		check(a, lane, lanesA[lane], lanesB[lane])
	}
}

// undelivered counts the numbers of the lane that were declared and did not come.
func undelivered(l cloud.LaneLedger) (n uint64) {
	for _, r := range without(gapRanges(l), l.Ranges) {
		n += r.Count()
	}
	return n
}

// gapRanges are the numbers of the lane that were declared, in order.
func gapRanges(l cloud.LaneLedger) (ranges []cloud.Range) {
	for _, g := range l.Gaps { // sorted by First
		if n := len(ranges); n > 0 && g.First <= ranges[n-1].Last {
			ranges[n-1].Last = max(ranges[n-1].Last, g.Last)
		} else if g.Last > 0 {
			ranges = append(ranges, cloud.Range{First: g.First, Last: g.Last})
		}
	}
	return ranges
}

// without returns the numbers of some ranges that others do not have. Both are
// sorted.
func without(ranges, others []cloud.Range) (left []cloud.Range) {
	for _, r := range ranges {
		for _, o := range others {
			if o.Last < r.First || o.First > r.Last {
				continue
			}
			if o.First > r.First {
				left = append(left, cloud.Range{First: r.First, Last: o.First - 1})
			}
			if r.First = o.Last + 1; r.First > r.Last {
				break
			}
		}
		if r.First <= r.Last {
			left = append(left, r)
		}
	}
	return left
}

func TestWithoutLeavesWhatOthersDoNotHave(t *testing.T) {
	r := func(first, last uint64) cloud.Range { return cloud.Range{First: first, Last: last} }
	got := without([]cloud.Range{r(1, 10), r(20, 30), r(40, 41)}, []cloud.Range{r(1, 2), r(4, 5), r(9, 22), r(30, 30)})
	want := []cloud.Range{r(3, 3), r(6, 8), r(23, 29), r(40, 41)}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
