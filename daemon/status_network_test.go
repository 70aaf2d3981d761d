package daemon

import (
	"slices"
	"testing"

	"github.com/tidegate/tidegate/dashboard"
)

// TestAReadingCostsWhatItsOwnUplinkSends: beside one that sends JSON, packed
// readings do not become dear.
func TestAReadingCostsWhatItsOwnUplinkSends(t *testing.T) {
	got := wireEach(3000, 0, []dashboard.Link{{SentBytes: 100, Acked: 100}, {SentBytes: 1900, Acked: 10}, {Waiting: 5}, {SentBytes: 0, Acked: 7}})
	if want := []float64{1.5, 285, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := wireEach(3000, 0, []dashboard.Link{{Acked: 3}}); got[0] != 0 {
		t.Errorf("%v of nothing that was sent", got)
	}
}
