package firmwaresim

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	histogramSteps  = 16 // steps of an octave: a quantile is at most 6 % too high
	histogramOctave = 40 // of nanoseconds: up to 18 minutes
)

// histogram counts durations in logarithmic steps.
type histogram struct {
	counts [histogramOctave * histogramSteps]atomic.Uint32
}

func (h *histogram) add(d time.Duration) { h.counts[histogramIndex(d)].Add(1) }

func histogramIndex(d time.Duration) int {
	v := uint64(max(d, histogramSteps))
	octave := bits.Len64(v) - 5 // v >> octave is 16 to 31
	return min(octave*histogramSteps+int(v>>octave)-histogramSteps, histogramOctave*histogramSteps-1)
}

// histogramBound returns the upper bound of the step with the given index.
func histogramBound(index int) time.Duration {
	octave := index / histogramSteps
	return time.Duration(index%histogramSteps+histogramSteps+1)<<octave - 1
}

// Latency is how long acknowledgements took, from Publish to PUBACK or PUBREC.
type Latency struct {
	counts [histogramOctave * histogramSteps]uint64
	total  uint64
}

func (l *Latency) merge(h *histogram) {
	for i := range h.counts {
		n := uint64(h.counts[i].Load())
		l.counts[i] += n
		l.total += n
	}
}

// Quantile returns the duration that the given share (0 to 1) of all
// acknowledgements did not exceed, at most 6 % too high; 0 when there are none.
func (l *Latency) Quantile(share float64) time.Duration {
	left := uint64(share * float64(l.total))
	for i, n := range l.counts {
		if left < n {
			return histogramBound(i)
		}
		left -= n
	}
	return l.max()
}

func (l *Latency) max() time.Duration {
	for i := len(l.counts) - 1; i >= 0; i-- {
		if l.counts[i] > 0 {
			return histogramBound(i)
		}
	}
	return 0
}
