package stompout

import "testing"

// A receipt that comes twice is that of one part only.
func TestReceiptCountsOnce(t *testing.T) {
	address, _, arrived := collector(t)
	sink := newSink(t, Config{Address: address})
	ctx := within(t, soon)
	ended := begin(ctx, sink, inParts(message(0, 30), "a", "b", "c"))
	all := []sent{receive(t, arrived), receive(t, arrived), receive(t, arrived)}
	for range 3 {
		all[0].receipt()
	}
	// Receipts are heard in their order, so those three have been when this one is.
	marker := begin(ctx, sink, message(1, 30))
	receive(t, arrived).receipt()
	if err := receive(t, marker); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		t.Fatalf("%v, and two parts have no receipt", err)
	default:
	}
	all[1].receipt()
	all[2].receipt()
	if err := receive(t, ended); err != nil {
		t.Error(err)
	}
}

// What has not been written yet cannot have been confirmed, whatever a server says.
func TestReceiptForWhatWasNotSentIsNone(t *testing.T) {
	f := &flight{first: 1, count: 1, missing: 1, done: make(chan struct{})}
	l := &link{receipts: map[uint64]*flight{1: f}, flying: map[*flight]struct{}{f: {}}}
	l.land("1")
	select {
	case <-f.done:
		t.Error("it was taken for custody")
	default:
	}
	f.begun = true
	l.land("1")
	<-f.done
}
