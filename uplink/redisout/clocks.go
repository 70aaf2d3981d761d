package redisout

import "sync"

// maxClocks is how many streams' clocks are remembered.
const maxClocks = 1 << 12

// clocks know the time of streams: that of their latest entries' ids, in ms since
// 1970. Trimming by age goes by it, and not by our clock, which may be wrong and
// would trim everything. Each stream has one of its own: what has an id of the future
// in it is ahead of the server for good, and by its time an entry that is being added
// to another stream would be trimmed at once.
type clocks struct {
	mu    sync.Mutex
	known map[string]int64
}

// note keeps the time of an id of the stream.
func (c *clocks) note(stream string, ms int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, known := c.known[stream]
	if !known && len(c.known) >= maxClocks {
		clear(c.known) // an entry without trimming does no harm
	}
	c.known[stream] = max(ms, at)
}

// of returns the stream's time, 0 if it is not known.
func (c *clocks) of(stream string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[stream]
}
