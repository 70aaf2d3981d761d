package mqttin

import (
	"net"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// The broker itself bounds neither of these.
const (
	// maxSubscriptions is how many filters a client may subscribe to.
	maxSubscriptions = 64
	// maxExchanges is how many QoS 2 exchanges a client may have begun and not
	// ended. It is told of fewer: many send all that they have, whatever it is.
	maxExchanges = 4096
	// maxRetained and maxRetainedBytes bound the retained messages of all.
	maxRetained      = 5000
	maxRetainedBytes = 8 << 20
	// maxAbsent is how many sessions are kept for clients that are away, for
	// each that may be connected.
	maxAbsent = 2
)

// retained keeps account of what retained messages take up.
type retained struct {
	mu    sync.Mutex
	sizes map[string]int // by topic, in bytes
	total int
}

// admit says whether a message may be retained, and counts it if so. An empty
// payload takes the topic's message away.
func (r *retained) admit(topic string, payload []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, known := r.sizes[topic]
	if len(payload) == 0 {
		delete(r.sizes, topic)
		r.total -= old
		return true
	}
	size := len(topic) + len(payload)
	if !known && len(r.sizes) >= maxRetained || r.total+size-old > maxRetainedBytes {
		return false
	}
	if r.sizes == nil {
		r.sizes = make(map[string]int)
	}
	r.sizes[topic] = size
	r.total += size - old
	return true
}

// limitSessions makes room for one more session: the client that has been away
// for longest is forgotten.
func (b *broker) limitSessions() {
	if b.server.Clients.Len() < maxAbsent*b.cfg.MaxClients {
		return
	}
	var longest *mqtt.Client
	for _, cl := range b.server.Clients.GetAll() {
		if cl.Closed() && (longest == nil || cl.StopTime() < longest.StopTime()) {
			longest = cl
		}
	}
	if longest != nil {
		b.stats.traffic.expired.Add(1)
		b.server.UnsubscribeClient(longest)
		longest.ClearInflights()
		b.server.Clients.Delete(longest.ID)
	}
}

// host is the part of a connection's address that its peer cannot choose anew
// for every connection.
func host(nc net.Conn) string {
	address := nc.RemoteAddr().String()
	if name, _, err := net.SplitHostPort(address); err == nil {
		return name
	}
	return address
}
