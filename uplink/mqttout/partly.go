package mqttout

import (
	"hash/crc64"
	"maps"
	"slices"
	"sync"

	"github.com/tidegate/tidegate/uplink"
)

// partly remembers which pieces of messages have arrived that have not arrived
// as a whole, and will be sent again: under the same key, with the same pieces.
// It saves bytes, and it is what keeps QoS 2 exactly that. A message may also be
// cut anew under the same key, so a piece counts by its own key and content.
type partly struct {
	mu    sync.Mutex
	known map[uplink.Key]arrived
	order []uplink.Key // in which they came
}

// arrived are pieces by their keys, each with a checksum of what it was.
type arrived map[string]uint64

// has reports whether the piece is one of them. A set never changes.
func (a arrived) has(p *publication) bool {
	sum, ok := a[p.key]
	return ok && sum == checksum(p.payload)
}

// checksum is CRC-64.
func checksum(payload []byte) uint64 { return crc64.Checksum(payload, crc64.MakeTable(crc64.ECMA)) }

// maxPartly is how many messages are remembered: as many as a Forwarder may have
// under way.
const maxPartly = 64

// of returns which pieces of the message have arrived.
func (p *partly) of(m uplink.Message) arrived {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[m.Key]
}

// note adds what has arrived, and returns what has not.
func (p *partly) note(m uplink.Message, pubs []publication) (left []publication) {
	for i := range pubs {
		if !pubs[i].settled {
			left = append(left, pubs[i])
		}
	}
	if m.Parts == nil || len(left) == len(pubs) {
		return left
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// A copy: the one before may be in use.
	more := maps.Clone(p.known[m.Key])
	if more == nil {
		more = make(arrived)
	}
	for i := range pubs {
		if pubs[i].settled {
			more[m.PartKey(m.Parts[pubs[i].index])] = checksum(pubs[i].payload)
		}
	}
	p.remember(m.Key, more)
	return left
}

func (p *partly) remember(k uplink.Key, pieces arrived) {
	if p.known == nil {
		p.known = make(map[uplink.Key]arrived)
	}
	if _, known := p.known[k]; !known {
		if len(p.order) == maxPartly {
			delete(p.known, p.order[0])
			p.order = slices.Delete(p.order, 0, 1)
		}
		p.order = append(p.order, k)
	}
	p.known[k] = pieces
}

// forget is for a message that has arrived as a whole.
func (p *partly) forget(m uplink.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.known[m.Key]; known {
		delete(p.known, m.Key)
		p.order = slices.DeleteFunc(p.order, func(k uplink.Key) bool { return k == m.Key })
	}
}
