package reading

// LaneSet is a set of lanes.
type LaneSet uint8

// AllLanes holds every lane.
const AllLanes LaneSet = 1<<Lanes - 1

// LanesOf returns the set of the lanes.
func LanesOf(lanes ...Lane) LaneSet {
	var s LaneSet
	for _, l := range lanes {
		s |= 1 << l
	}
	return s
}

// Has reports whether the set holds the lane.
func (s LaneSet) Has(l Lane) bool { return s&(1<<l) != 0 }
