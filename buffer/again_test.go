package buffer

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// waitsFor returns the blocks that the sink would be sent at once.
func waitsFor(t *testing.T, c *Cursor) (blocks []wire.Block) {
	t.Helper()
	for {
		bs, err := c.Next(ended(), reading.AllLanes, 1)
		if errors.Is(err, context.Canceled) {
			return blocks
		}
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, bs...)
	}
}

// refuse takes the next block and sets it aside, as a forwarder does.
func (r *running) refuse(sink string) wire.Block {
	r.t.Helper()
	c := r.Cursor(sink)
	blocks, err := c.Next(r.t.Context(), reading.AllLanes&^reading.LanesOf(reading.Alarm), 1) // alarms tell of the last refusal
	if err != nil {
		r.t.Fatal(err)
	}
	blk := blocks[0]
	if err := r.Quarantine(sink, blk, "no such field"); err != nil {
		r.t.Fatal(err)
	}
	if err := c.Ack(blk.Lane, blk.First, blk.Last()); err != nil {
		r.t.Fatal(err)
	}
	return blk
}

func (r *running) refusedIDs() (ids []string) {
	for _, q := range r.Inventory().Refused {
		ids = append(ids, q.ID)
	}
	return ids
}

func TestARefusedBlockIsSentAgainAndLeavesWhenItIsTaken(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.accept("a", 1, 2)
	blk := r.refuse("cloud")
	c := r.Cursor("cloud")
	if err := r.RetryRefused([]string{"cloud/normal/1"}); err != nil {
		t.Fatal(err)
	}
	again := slices.DeleteFunc(waitsFor(t, c), func(b wire.Block) bool { return b.Lane == reading.Alarm }) // the gap
	if len(again) != 1 || string(again[0].Raw) != string(blk.Raw) {
		t.Fatalf("%d blocks are sent again, want the one that was refused, byte for byte", len(again))
	}
	if ids := r.refusedIDs(); len(ids) != 1 {
		t.Errorf("%v is in quarantine before it was taken", ids)
	}
	if err := c.Ack(blk.Lane, blk.First, blk.Last()); err != nil {
		t.Fatal(err)
	}
	if ids := r.refusedIDs(); len(ids) != 0 {
		t.Errorf("%v is in quarantine after it was taken", ids)
	}
}

func TestARefusedBlockThatIsRefusedAgainStays(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.accept("a", 1, 2)
	r.refuse("cloud")
	gaps := len(r.Inventory().Gaps)
	c := r.Cursor("cloud")
	if err := r.RetryRefused([]string{"cloud/normal/1"}); err != nil {
		t.Fatal(err)
	}
	waitsFor(t, c)
	blk, _, err := wire.ParseBlock(r.Inventory().Refused[0].Raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Quarantine("cloud", blk, "still no such field"); err != nil {
		t.Fatal(err)
	}
	if err := c.Ack(blk.Lane, blk.First, blk.Last()); err != nil {
		t.Fatal(err)
	}
	refused := r.Inventory().Refused
	if len(refused) != 1 || refused[0].Reason != "still no such field" || refused[0].Retry {
		t.Errorf("in quarantine: %+v", refused)
	}
	if n := len(r.Inventory().Gaps); n != gaps {
		t.Errorf("%d gaps are declared, want the %d of before: it is one loss", n, gaps)
	}
	if again := waitsFor(t, r.Cursor("cloud")); slices.ContainsFunc(again, func(b wire.Block) bool { return b.Lane == reading.Normal }) {
		t.Error("it is sent a third time without being asked for")
	}
}

func TestTheWishToSendAgainSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1, 2)
	r.refuse("cloud")
	if err := r.RetryRefused([]string{"cloud/normal/1"}); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r = start(t, dir, nil)
	again := slices.DeleteFunc(waitsFor(t, r.Cursor("cloud")), func(b wire.Block) bool { return b.Lane == reading.Alarm })
	if len(again) != 1 || again[0].First != 1 {
		t.Errorf("%d blocks are sent again after a restart, want 1", len(again))
	}
	if other := waitsFor(t, r.Cursor("archive")); !slices.ContainsFunc(other, func(b wire.Block) bool { return b.First == 1 }) {
		t.Error("another sink did not get the block from the journal")
	}
}

func TestADroppedBlockIsGoneEvenIfItWasToBeSentAgain(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.accept("a", 1, 2)
	r.refuse("cloud")
	if err := errors.Join(r.RetryRefused([]string{"cloud/normal/1"}), r.DropRefused([]string{"cloud/normal/1"})); err != nil {
		t.Fatal(err)
	}
	if ids := r.refusedIDs(); len(ids) != 0 {
		t.Errorf("%v is in quarantine", ids)
	}
	for _, b := range waitsFor(t, r.Cursor("cloud")) {
		if b.Lane == reading.Normal {
			t.Error("it is sent all the same")
		}
	}
}

func TestNothingIsChangedWhenOneBlockIsNotThere(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.accept("a", 1, 2)
	r.refuse("cloud")
	for _, id := range []string{"cloud/normal/2", "archive/normal/1", "cloud/normal", "cloud/urgent/1", "", "cloud/normal/-1"} {
		ids := []string{"cloud/normal/1", id}
		if err := errors.Join(r.RetryRefused(ids), r.DropRefused(ids)); !errors.Is(err, ErrNotSetAside) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if refused := r.Inventory().Refused; len(refused) != 1 || refused[0].Retry {
		t.Errorf("in quarantine: %+v", refused)
	}
}

func TestNextGivesOnlyTheLanesThatWereAskedFor(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.acceptAll(
		reading.Reading{Device: "a", Time: 1, Value: reading.Float(1)},
		reading.Reading{Device: "a", Time: 1, Value: reading.Float(2), Lane: reading.Alarm},
		reading.Reading{Device: "a", Time: 1, Value: reading.Float(3), Lane: reading.Bulk},
	)
	c := r.Cursor("cloud")
	for _, lane := range []reading.Lane{reading.Bulk, reading.Normal, reading.Alarm} {
		blocks, err := c.Next(ended(), reading.LanesOf(lane), 1<<20)
		if err != nil || len(blocks) != 1 || blocks[0].Lane != lane {
			t.Errorf("of the lane %v came %d blocks, %v", lane, len(blocks), err)
		}
		if _, err := c.Next(ended(), reading.LanesOf(lane), 1<<20); !errors.Is(err, context.Canceled) {
			t.Errorf("of the lane %v there is more: %v", lane, err)
		}
	}
}

func TestNextLiveGivesNothingOfABacklog(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.backlog(reading.Normal, 30) // commits of a thousand: more than liveDistance
	c := r.Cursor("cloud")
	r.next(c, 1) // which sees the backlog
	if blocks, err := c.NextLive(ended(), reading.AllLanes, 1<<20); !errors.Is(err, context.Canceled) {
		t.Fatalf("of the backlog came %d blocks, %v", len(blocks), err)
	}
	r.accept("a", 7)
	blocks, err := c.NextLive(ended(), reading.AllLanes, 1<<20)
	if err != nil || len(blocks) != 1 || decodeBlock(t, blocks[0])[0].Value.Float() != 7 {
		t.Errorf("what is new is %d blocks, %v", len(blocks), err)
	}
}

// A quarantine that is full keeps what was in it already: a block that is refused
// once more must not stop the sink.
func TestAFullQuarantineTakesBackWhatItHad(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	for n := range maxQuarantined {
		r.accept("a", float64(n))
		r.refuse("cloud")
	}
	r.accept("a", 1)
	c := r.Cursor("cloud")
	if err := r.Quarantine("cloud", r.next(c, 1)[0], "no such field"); !errors.Is(err, ErrQuarantineFull) {
		t.Fatalf("one more: %v, want ErrQuarantineFull", err)
	}
	id := r.refusedIDs()[0]
	if err := r.RetryRefused([]string{id}); err != nil {
		t.Fatal(err)
	}
	blk := waitsFor(t, c)[0]
	if err := r.Quarantine("cloud", blk, "still no such field"); err != nil {
		t.Errorf("refused again: %v", err)
	}
}

// Asked for twice, in one breath or while it is on its way, a block is sent once.
func TestABlockIsSentAgainOnce(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.accept("a", 1, 2)
	r.refuse("cloud")
	c := r.Cursor("cloud")
	ids := []string{"cloud/normal/1", "cloud/normal/1"}
	if err := errors.Join(r.RetryRefused(ids), r.RetryRefused(ids)); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, b := range waitsFor(t, c) {
		if b.Lane == reading.Normal {
			n++
		}
	}
	if err := r.RetryRefused(ids); err != nil {
		t.Fatal(err)
	}
	if n != 1 || slices.ContainsFunc(waitsFor(t, c), func(b wire.Block) bool { return b.Lane == reading.Normal }) {
		t.Errorf("it is sent %d times, or once more while it is on its way", n)
	}
}
