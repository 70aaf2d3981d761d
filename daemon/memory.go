package daemon

import (
	"runtime/debug"

	"github.com/tidegate/tidegate/internal/cgroup"
	"github.com/tidegate/tidegate/internal/conf"
)

// limitMemory tells the garbage collector how much to leave.
func (d *Daemon) limitMemory(wanted conf.Size) {
	limit, ok := cgroup.Memory()
	heap := heapWithin(wanted, limit, ok)
	if heap < wanted {
		d.log.Warn("gateway.memory is more than its control group leaves it, and less counts — hint: raise MemoryMax= of the unit, or lower gateway.memory",
			"memory", wanted.String(), "limit", conf.Size(limit).Approx(), "counts", heap.Approx())
	}
	debug.SetMemoryLimit(int64(heap))
}

// heapWithin is what counts of a wanted limit of the heap where the kernel kills beyond
// another: at most 80 % of that. The rest is for what is no heap, such as state.db's
// pages and the threads' stacks.
func heapWithin(wanted conf.Size, limit int64, limited bool) conf.Size {
	if !limited {
		return wanted
	}
	return min(wanted, conf.Size(limit/5*4))
}
