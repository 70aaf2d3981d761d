package daemon

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// origins remembers which doors a device's readings come in by, for those who ask
// where a reading is. Memory is bounded: of devices beyond maxOrigins it knows
// nothing.
type origins struct {
	mu      sync.Mutex
	doors   []string
	devices map[string]uint64 // device → doors, a bit each
}

// maxOrigins is how many devices are remembered, and maxDoors how many doors.
const (
	maxOrigins = 20_000
	maxDoors   = 64
)

// origin is one door, between its intake and the live view. Its readings come by
// the thousand a second, so a device that it has named lately costs a hash and one
// load.
type origin struct {
	*origins
	live   ingest.Live
	door   string
	seed   maphash.Seed
	lately [1024]atomic.Uint64
}

// of returns the origin of a door, which takes a place when readings come in by it.
func (o *origins) of(door string, live ingest.Live) *origin {
	return &origin{origins: o, live: live, door: door, seed: maphash.MakeSeed()}
}

// Publish notes that the readings came in by the door, and shows them.
func (o *origin) Publish(rs []reading.Reading) {
	o.live.Publish(rs)
	device := ""
	for i := range rs {
		if rs[i].Device == device {
			continue
		}
		device = rs[i].Device
		hash := maphash.String(o.seed, device)
		if seen := &o.lately[hash%uint64(len(o.lately))]; seen.Load() != hash {
			seen.Store(hash)
			o.note(device, o.door)
		}
	}
}

func (o *origins) note(device, door string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	bit := o.bit(door)
	if bit == 0 {
		return
	}
	doors, known := o.devices[device]
	if !known && len(o.devices) == maxOrigins {
		return
	}
	if o.devices == nil {
		o.devices = make(map[string]uint64)
	}
	if !known {
		device = strings.Clone(device)
	}
	o.devices[device] = doors | bit
}

// bit is that of a door; 0 for one too many. The caller holds mu.
func (o *origins) bit(door string) uint64 {
	i := slices.Index(o.doors, door)
	if i < 0 && len(o.doors) < maxDoors {
		i = len(o.doors)
		o.doors = append(o.doors, door)
	}
	if i < 0 {
		return 0
	}
	return 1 << i
}

// doorsOf names the doors that have brought readings of the device.
func (o *origins) doorsOf(device string) (names []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for doors := o.devices[device]; doors != 0; doors &= doors - 1 {
		names = append(names, o.doors[bits.TrailingZeros64(doors)])
	}
	return names
}
