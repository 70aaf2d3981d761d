package buffer

import (
	"errors"
	"slices"

	"github.com/tidegate/tidegate/internal/base/whole"
)

// What a later version of the program wrote is kept for it. Segments with records that
// this one cannot read stay where they are: they make no room, do not count for the
// bound, and what is in them is neither delivered nor lost. Nobody here knows their
// numbers, so where state.db does not say how the later version ended, numbers go on
// far behind all that it may have given out.

// leap is by how much. A hole of half of it is one that was leapt over: no journal
// holds so many readings.
const leap = 1 << 32

func leapt(first, last uint64) bool { return last-first >= leap/2 }

// kept says that there are readings in the segment that only a later version can read.
func (s segmentInfo) kept() bool { return s.Later > 0 }

// keepsLater says whether there is such a segment.
func (x *index) keepsLater() bool { return x.later() > 0 }

// later returns how many bytes of records there are that cannot be read.
func (x *index) later() (bytes int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.segments {
		bytes += s.Later
	}
	return bytes
}

// notKept leaves out the segments that must stay.
func notKept(all []segmentInfo) []segmentInfo { return slices.DeleteFunc(all, segmentInfo.kept) }

// knows says that this version can read the first record of the segment. Each version
// begins a segment of its own.
func knows(dir string, number uint64) bool {
	header, ok := firstHeader(dir, number)
	if !ok {
		return false
	}
	version, _ := versionOf(header)
	return version == recordVersion || version == recordVersion1
}

// setAsideName is the name that a file gets: of damaged ones there are a few, and one
// of a later version is never written over.
func setAsideName(path string, why error) string {
	if errors.Is(why, errNewer) {
		return whole.LaterName(path)
	}
	return freeName(path)
}
