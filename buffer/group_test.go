package buffer

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// sources repeat what was refused, so a group that can never be stored would come again and again.
func TestOneAbsurdTimeDoesNotFailTheOthers(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	bad := value(1, reading.Normal)
	bad.Time = -1 << 63
	_, err1 := b.Accept(t.Context(), []reading.Reading{bad})
	good := value(2, reading.Normal)
	good.Time = time.Now().UnixNano()
	receipt, err := b.Accept(t.Context(), []reading.Reading{good})
	if err != nil {
		t.Fatal(err)
	}
	runBuffer(t, b)
	if err := receipt.Wait(t.Context()); err != nil {
		t.Errorf("a good reading is refused because of a neighbour (taken: %v): %v", err1 == nil, err)
	}
}

// nothing in it compresses, and every reading has a metric of its own.
func TestLargestGroupSurvivesACrash(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, nil)
	text := func(seed, n int) string { return noise("x", seed, n).Value.Text() }
	rs := make([]reading.Reading, groupReadings-1)
	for i := range rs {
		rs[i] = reading.Reading{Device: "d", Metric: text(i, 64), Time: int64(i), Value: reading.Float(rand.Float64())}
	}
	if _, err := b.Accept(t.Context(), rs); err != nil {
		t.Fatal(err)
	}
	rs = make([]reading.Reading, maxAccept)
	for i := range rs {
		rs[i] = reading.Reading{Device: "e", Metric: text(10000+i, 64), Time: rand.Int64N(maxTime), Value: reading.Float(rand.Float64())}
	}
	rs[0].Value = reading.Bytes(text(77777, 4<<20-100))
	receipt, err := b.Accept(t.Context(), rs)
	if err != nil {
		t.Fatal(err)
	}
	r := runBuffer(t, b)
	if err := receipt.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("a record of %d bytes", r.index.segments[0].End)
	r.crash()
	r = start(t, dir, nil)
	if got := r.Stats().Held; got != uint64(len(rs)+groupReadings-1) {
		t.Errorf("%d readings were acknowledged, %d are there", len(rs)+groupReadings-1, got)
	}
}
