package decode

import "github.com/tidegate/tidegate/reading"

// FillUnits gives readings of a frame that have no unit the one that was
// announced for their metric on the frame's topic.
func FillUnits(rs []reading.Reading, f Frame) {
	if f.Memory == nil || f.Topic == "" {
		return
	}
	units := f.Memory.Units(f.Topic)
	if len(units) == 0 {
		return
	}
	for i := range rs {
		if rs[i].Unit == "" {
			rs[i].Unit = units[rs[i].Metric]
		}
	}
}
