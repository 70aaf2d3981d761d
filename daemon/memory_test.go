package daemon

import (
	"testing"

	"github.com/tidegate/tidegate/internal/conf"
)

func TestTheHeapLeavesRoomInTheControlGroup(t *testing.T) {
	for _, c := range []struct {
		wanted  conf.Size
		limit   int64
		limited bool
		want    conf.Size
	}{
		{48 * conf.MiB, 0, false, 48 * conf.MiB},
		{48 * conf.MiB, 256 << 20, true, 48 * conf.MiB},
		{48 * conf.MiB, 50 << 20, true, 40 * conf.MiB},
		{conf.TiB, 256 << 20, true, conf.Size(256<<20) / 5 * 4},
	} {
		if got := heapWithin(c.wanted, c.limit, c.limited); got != c.want {
			t.Errorf("%v of %d: got %v, want %v", c.wanted, c.limit, got, c.want)
		}
	}
}
