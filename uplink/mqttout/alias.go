package mqttout

import "container/list"

// aliasCost is what an alias takes in a packet, in bytes.
const aliasCost = 3

// maxSeen bounds how many topics without an alias are remembered.
const maxSeen = 4096

// aliases are short names for topics on one connection (MQTT 5.0, 3.3.2.3.4):
// a topic that has one costs three bytes. The zero value has room for none.
//
// The one used longest ago makes room for another only if that has been used
// since: when more topics than there is room for go round, those that have an
// alias keep it. To give each the next one's would help nobody, and cost.
type aliases struct {
	room  int
	named map[string]*list.Element // of alias
	used  list.List                // most recently used first
	seen  map[string]int           // clock of the last use of topics without one
	clock int                      // publications
}

type alias struct {
	topic  string
	number uint16
	at     int // clock of its last use
}

// name returns the alias of a topic, 0 for none, and whether the server knows
// it already. The publication must be the next that goes out.
func (a *aliases) name(topic string) (number uint16, known bool) {
	if a.room == 0 || len(topic) <= aliasCost {
		return 0, false
	}
	a.clock++
	if e, ok := a.named[topic]; ok {
		n := e.Value.(*alias)
		n.at = a.clock
		a.used.MoveToFront(e)
		return n.number, true
	}
	if number = a.free(topic); number == 0 {
		return 0, false
	}
	if a.named == nil {
		a.named = make(map[string]*list.Element)
	}
	a.named[topic] = a.used.PushFront(&alias{topic: topic, number: number, at: a.clock})
	return number, false
}

// free returns a number that names nothing, or nothing that is of more use than
// the topic would be; 0 if there is none.
func (a *aliases) free(topic string) uint16 {
	if a.used.Len() < a.room {
		return uint16(a.used.Len() + 1)
	}
	oldest := a.used.Back()
	n := oldest.Value.(*alias)
	if a.seen[topic] <= n.at {
		if a.seen == nil || len(a.seen) >= maxSeen {
			a.seen = make(map[string]int)
		}
		a.seen[topic] = a.clock
		return 0
	}
	delete(a.seen, topic)
	a.used.Remove(oldest)
	delete(a.named, n.topic)
	return n.number
}
