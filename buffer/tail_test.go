package buffer

import (
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// after a clean end the buffer knows how many there were.
func TestRotOfTheLastRecordAfterACleanEnd(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	for v := range 3 {
		r.accept("a", float64(v))
	}
	r.stop()
	rot(t, dir, 2)
	r = start(t, dir, nil)
	r.drain("cloud")
	r.wantGap(reading.Normal, 3, 3)
}
