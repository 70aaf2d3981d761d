package mqttout

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// learned is what a Sink has found out about its server. It outlives links.
type learned struct {
	// only311 is until when the server is taken not to know MQTT 5; nil for not at
	// all. speaks5 says that it did last, hangups how often in a row it has hung up on
	// a login with it since.
	only311   atomic.Pointer[time.Time]
	speaks5   atomic.Bool
	hangups   atomic.Int32
	noAliases atomic.Bool  // it does not get along with topic aliases
	maxPacket atomic.Int64 // bytes; 0 for unknown
	overhead  atomic.Int64 // the most bytes of a packet that were not payload
	newest    newest

	published, saved atomic.Int64
}

// Stats counts what a Sink has done.
type Stats struct {
	// Published publications have been queued, those that were sent again
	// included.
	Published int64
	// AliasSaved is how many bytes topic aliases have saved, less what they cost.
	AliasSaved int64
}

// Stats returns the counts.
func (s *Sink) Stats() Stats {
	return Stats{Published: s.learned.published.Load(), AliasSaved: s.learned.saved.Load()}
}

// usualOverhead is what a packet is taken to need beside its payload before one
// has been seen, in bytes.
const usualOverhead = 256

// limit is the largest payload that fits into a packet, 0 for unknown.
func (k *learned) limit() int {
	most := k.maxPacket.Load()
	if most == 0 {
		return 0
	}
	return int(max(most-max(k.overhead.Load(), usualOverhead), 1))
}

// count notes a publication on its way, and the size of its largest form.
func (k *learned) count(p *publication, f wireForm, size int) {
	k.published.Add(1)
	switch {
	case f.known:
		k.saved.Add(int64(len(p.topic) - aliasCost))
	case f.alias > 0:
		k.saved.Add(-aliasCost)
	}
	over := int64(size - len(p.payload))
	for old := k.overhead.Load(); over > old && !k.overhead.CompareAndSwap(old, over); {
		old = k.overhead.Load()
	}
}

// stamp says when a reading was taken, among others of its gateway.
type stamp struct {
	epoch uint64
	lane  reading.Lane
	seq   uint64
	time  int64 // ns; only for comparison with another epoch or lane
}

// before reports whether a is older than b.
func (a stamp) before(b stamp) bool {
	if a.epoch == b.epoch && a.lane == b.lane {
		return a.seq < b.seq
	}
	return a.time < b.time
}

// newest remembers the newest retained publication of each topic. A backlog is
// sent behind what is new, and messages are sent again: what is older must not
// become what the server keeps of a topic.
type newest struct {
	mu  sync.Mutex
	was map[string]stamp
}

// maxTopics bounds how many topics are remembered.
const maxTopics = 8192

// mayRetain takes the retain flag off a publication that is older than one
// before it. It is called in the order in which publications leave.
func (n *newest) mayRetain(p *publication) {
	if !p.retain || p.stamp == (stamp{}) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	was, known := n.was[p.topic]
	if known && p.stamp.before(was) {
		p.retain = false
		return
	}
	if n.was == nil {
		n.was = make(map[string]stamp)
	}
	if !known && len(n.was) >= maxTopics {
		for any := range n.was {
			delete(n.was, any)
			break
		}
	}
	n.was[p.topic] = p.stamp
}

// closes counts how often in a row the server has hung up on one message.
type closes struct {
	mu    sync.Mutex
	key   string
	times int
}

// suspicious is how often that is no accident any more.
const suspicious = 3

// note adds to an error that it is not the first of its kind: a server of MQTT
// 3.1.1 can say no to a publication only by hanging up.
func (c *closes) note(key string, pubs []publication, err error) error {
	if !errors.Is(err, errClosed) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.key != key {
		c.key, c.times = key, 0
	}
	c.times++
	if c.times < suspicious {
		return err
	}
	large := &pubs[0]
	for i := range pubs {
		if len(pubs[i].payload) > len(large.payload) {
			large = &pubs[i]
		}
	}
	what, _, _ := strings.Cut(err.Error(), " — hint: ")
	return fmt.Errorf("the connection has broken %d times in a row while %s was sent (%d publications, the largest of %d bytes to %s): %s — hint: "+
		"the server may not want it, and say so in no other way; look into its log, at its access list (state_topic, too) and at its largest packet, or lower max_batch",
		c.times, key, len(pubs), len(large.payload), quote(large.topic), what)
}

// forget is for a message that has arrived.
func (c *closes) forget() {
	c.mu.Lock()
	c.times = 0
	c.mu.Unlock()
}
