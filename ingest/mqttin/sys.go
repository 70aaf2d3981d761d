package mqttin

import (
	"fmt"
	"maps"
	"math"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// sysRoot is where the broker says how it is, under the names that users of
// mosquitto know. Nobody else may publish there.
const sysRoot = "$SYS/broker/"

// sys publishes how the broker is, as retained messages of QoS 0 that never
// leave memory: what is new since the last time, and no more.
type sys struct {
	broker *broker
	asked  chan struct{} // receives when somebody begins to listen

	mu      sync.Mutex
	began   time.Time
	told    map[string]string // by topic, without sysRoot
	loads   map[string]*load
	at      time.Time // of the last round
	clients uint64    // at most at once
	heap    uint64    // at most
	sample  []metrics.Sample

	// isListened looks when subscriptions have changed.
	generation uint64
	listened   bool
}

// unheard is how often it is noted how the broker is while nobody listens: that makes
// its loads, which are averages over minutes.
const unheard = time.Minute

func newSys(b *broker) *sys {
	if b.cfg.SysInterval < 0 {
		return nil
	}
	return &sys{broker: b, asked: make(chan struct{}, 1), told: map[string]string{}, loads: map[string]*load{},
		sample: []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}}
}

// announce publishes how the broker is, every interval until it stops.
func (b *broker) announce() {
	s := b.sys
	if s == nil {
		return
	}
	now := time.Now()
	s.mu.Lock()
	s.began, s.at = now, now
	s.publish("version", "tidegate version "+b.cfg.Version)
	s.mu.Unlock()
	next := time.NewTimer(unheard)
	defer next.Stop()
	for {
		s.round(time.Now(), 0)
		for due := false; !due; {
			next.Reset(s.rest(time.Now()))
			select {
			case <-b.ctx.Done():
				return
			case <-s.asked:
			case <-next.C:
				due = true
			}
		}
	}
}

// rest returns how long the next round may wait.
func (s *sys) rest(now time.Time) time.Duration {
	interval := s.broker.cfg.SysInterval
	if !s.isListened() && interval < unheard {
		interval *= (unheard + interval - 1) / interval
	}
	return interval - now.Sub(s.began)%interval
}

// isListened reports whether a client, there or away, has subscribed to this. It is
// called by announce alone.
func (s *sys) isListened() bool {
	generation := s.broker.generation.Load() + 1 // so that the first one is new
	if s.generation == generation {
		return s.listened
	}
	s.generation, s.listened = generation, false
	for _, one := range s.broker.everySession() {
		_, filters := one.holds()
		for filter := range filters {
			s.listened = s.listened || isSys(filter)
		}
	}
	return s.listened
}

func isSys(filter string) bool {
	if levels := strings.SplitN(filter, "/", 3); len(levels) == 3 && mqtt.IsSharedFilter(filter) {
		filter = levels[2]
	}
	return filter == "$SYS" || strings.HasPrefix(filter, "$SYS/")
}

// refresh makes what somebody is about to subscribe to as it is now.
func (s *sys) refresh(filter string) {
	if s != nil && isSys(filter) {
		s.round(time.Now(), time.Second)
	}
}

// listen says that somebody has subscribed.
func (s *sys) listen(filter string) {
	if s != nil && isSys(filter) {
		signal(s.asked)
	}
}

// round publishes everything that has changed, unless that was done so lately.
func (s *sys) round(now time.Time, lately time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() || now.Sub(s.at) < lately {
		return
	}
	s.publish("uptime", fmt.Sprintf("%d seconds", int(now.Sub(s.began).Seconds())))
	for name, n := range s.gauges() {
		s.publish(name, strconv.FormatUint(n, 10))
	}
	totals := s.totals()
	for name, n := range totals {
		s.publish(name, strconv.FormatUint(n, 10))
	}
	for name, total := range s.loadsOf(totals) {
		l := s.loads[name]
		if l == nil {
			l = new(load)
			s.loads[name] = l
		}
		l.add(total, now.Sub(s.at))
		for i, minutes := range loadMinutes {
			s.publish(fmt.Sprintf("load/%s/%dmin", name, minutes), strconv.FormatFloat(l.perMinute[i], 'f', 2, 64))
		}
	}
	s.at = now
}

// gauges are the values that may fall.
func (s *sys) gauges() map[string]uint64 {
	b := s.broker
	c := b.census()
	connected := uint64(max(0, b.stats.clients.Load()))
	s.clients = max(s.clients, connected)
	metrics.Read(s.sample) // does not stop the world
	heap := s.sample[0].Value.Uint64()
	s.heap = max(s.heap, heap)
	return map[string]uint64{
		"clients/connected":          connected,
		"clients/disconnected":       max(c.sessions, connected) - connected,
		"clients/maximum":            s.clients,
		"clients/total":              max(c.sessions, connected),
		"heap/current":               heap,
		"heap/maximum":               s.heap,
		"messages/stored":            c.retained + c.waiting,
		"retained messages/count":    c.retained,
		"shared_subscriptions/count": c.shared,
		"store/messages/count":       c.retained + c.waiting,
		"subscriptions/count":        c.subscriptions,
	}
}

// totals are the values that only grow.
func (s *sys) totals() map[string]uint64 {
	n, t := s.broker.stats.read(), &s.broker.stats.traffic
	return map[string]uint64{
		"bytes/received":            n.Bytes,
		"bytes/sent":                t.bytesSent.Load(),
		"clients/expired":           n.Expired + n.Forgotten,
		"messages/received":         t.packets.Load(),
		"messages/sent":             t.packetsSent.Load(),
		"publish/bytes/received":    t.payload.Load(),
		"publish/bytes/sent":        t.payloadSent.Load(),
		"publish/messages/dropped":  n.Undelivered,
		"publish/messages/received": n.Received[0] + n.Received[1] + n.Received[2],
		"publish/messages/sent":     t.publishSent.Load(),
	}
}

// loadsOf names the totals that loads are made of.
func (s *sys) loadsOf(totals map[string]uint64) map[string]uint64 {
	return map[string]uint64{
		"bytes/received":    totals["bytes/received"],
		"bytes/sent":        totals["bytes/sent"],
		"connections":       s.broker.stats.traffic.connects.Load(),
		"messages/received": totals["messages/received"],
		"messages/sent":     totals["messages/sent"],
		"publish/dropped":   totals["publish/messages/dropped"],
		"publish/received":  totals["publish/messages/received"],
		"publish/sent":      totals["publish/messages/sent"],
		"sockets":           s.broker.stats.traffic.sockets.Load(),
	}
}

// publish publishes a value if it is another than the last one.
func (s *sys) publish(name, value string) {
	if told, again := s.told[name]; again && told == value {
		return
	}
	s.told[name] = value
	s.broker.say(sysRoot+name, value)
}

// loadMinutes are the spans that loads are averaged over.
var loadMinutes = [3]int{1, 5, 15}

// load is a count per minute, averaged over each of loadMinutes so that the
// latest weighs the most, as the load of a computer is.
type load struct {
	total     uint64
	perMinute [3]float64
}

// add takes in what has happened since the last time.
func (l *load) add(total uint64, since time.Duration) {
	if since <= 0 {
		return // the first time
	}
	rate := float64(total-min(l.total, total)) / since.Minutes()
	for i, minutes := range loadMinutes {
		keep := math.Exp(-since.Minutes() / float64(minutes))
		l.perMinute[i] = rate + keep*(l.perMinute[i]-rate)
	}
	l.total = total
}

// census counts what the broker keeps.
type census struct{ sessions, subscriptions, shared, retained, waiting uint64 }

func (b *broker) census() census {
	c := census{retained: b.retained.count()}
	for _, s := range b.everySession() {
		waiting, filters := s.holds()
		c.sessions++
		c.waiting += uint64(waiting)
		for filter := range filters {
			if mqtt.IsSharedFilter(filter) {
				c.shared++
			} else {
				c.subscriptions++
			}
		}
	}
	return c
}

// count is how many messages are retained, without what the broker says itself.
func (r *retained) count() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint64(len(r.messages))
}

// say publishes a retained message in the broker's own name. It is no reading,
// and is not noted.
func (b *broker) say(topic, payload string) {
	m := &message{topic: topic, payload: []byte(payload), retain: true}
	b.retained.change.Lock() // before anybody subscribes, or after: see sendRetained
	defer b.retained.change.Unlock()
	b.server.Topics.RetainMessage(m.indexed())
	copies := b.subscribers(m)
	b.send(m, copies, nil)
	hear(m, copies)
}

// withoutReserved takes the groups out of the subscribers of a $ topic whose
// filter begins with a wildcard: that does not match such topics [MQTT-4.7.2-1].
func withoutReserved(s *mqtt.Subscribers) {
	maps.DeleteFunc(s.Shared, func(filter string, _ map[string]packets.Subscription) bool {
		first := behindShare(filter)[0]
		return first == '+' || first == '#'
	})
}
