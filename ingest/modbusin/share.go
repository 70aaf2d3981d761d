package modbusin

import (
	"context"
	"time"
)

// silentShare bounds the time that goes into waiting for slaves that do not
// answer, while others do, to one in so many parts.
const silentShare = 4

// cost takes note of time that was waited in vain.
func (b *bus) cost(d time.Duration) {
	if now := time.Now(); b.quits.Before(now) {
		b.quits = now
	}
	b.quits = b.quits.Add(silentShare * d)
}

// spare returns from when on there is time for slaves that have not answered.
// While all goes well it lies in the past, and a few failures do not change that;
// when a whole floor is without power, its probes must not take all the time.
func (b *bus) spare() time.Time {
	answering, longest := false, time.Duration(0)
	for _, s := range b.slaves {
		answering = answering || s.health == up && s.failures == 0
		longest = max(longest, s.Timeout)
	}
	if !answering {
		return time.Time{}
	}
	return b.quits.Add(-silentShare * leastPatience * longest)
}

// blame takes note of whose questions were under way when the line broke. Some
// gateways end the connection for a slave that they do not find: from the third
// time in a row on, such a slave is dead, so that the others can be asked.
func (b *bus) blame(ctx context.Context) error {
	for _, f := range b.flights {
		s := f.slave
		if s.breaks++; s.breaks < leastPatience {
			continue
		}
		s.failures++
		s.counts.failed(NoAnswer)
		if err := b.dead(ctx, s, NoAnswer); err != nil {
			return err
		}
	}
	return nil
}
