package mqttin

import (
	"github.com/tidegate/tidegate/ingest/route"
)

const (
	// maxTopics and maxTopicLength bound what one connection remembers.
	maxTopics      = 1024
	maxTopicLength = 256
)

// topic is what a connection knows about a topic that it publishes to.
type topic struct {
	name   string
	target route.Target
	denied bool // the client may not publish to it
	// local says that somebody was subscribed to it when the broker's
	// subscriptions were in generation checked.
	local   bool
	checked uint64
}

// topics remembers the topics of one connection, so that a device that says the
// same all day costs neither a look at the routes nor one at the subscriptions.
type topics struct {
	last  *topic // the one found last; most devices have only one
	known map[string]*topic
}

// find returns what the table and the rights say about the name. The error says
// that the name is not a topic's.
func (t *topics) find(table *route.Table, r *rights, name []byte) (*topic, error) {
	if t.last != nil && t.last.name == string(name) {
		return t.last, nil
	}
	if found, ok := t.known[string(name)]; ok {
		t.last = found
		return found, nil
	}
	if err := checkTopicName(name); err != nil {
		return nil, err
	}
	found := &topic{name: string(name)}
	var ok bool
	if found.target, ok = table.Resolve(found.name); !ok {
		return nil, errReserved
	}
	found.denied = !r.mayPublish(found.name)
	t.remember(found)
	t.last = found
	return found, nil
}

// errReserved refuses publishes that could not be kept, because nothing is
// acknowledged that is not.
var errReserved = &violation{codeTopicNameInvalid, "topics that begin with $ are the broker's own"}

func (t *topics) remember(found *topic) {
	if len(found.name) > maxTopicLength {
		return
	}
	if t.known == nil || len(t.known) >= maxTopics {
		t.known = make(map[string]*topic)
	}
	t.known[found.name] = found
}
