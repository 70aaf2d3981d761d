package decode

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// role is what a field's name says about its value.
type role uint8

const (
	plainField  role = iota
	batchField       // when its value is an array, the objects in it are samples
	timeField        // the time of the object, when its value is a plausible one
	deviceField      // the device of the object, when its value can be a name
)

// field is a name as it leaves the decoder, and its role.
type field struct {
	name string
	role role
}

const (
	nameSlots = 4096      // a power of two
	nameCost  = 128       // bytes charged for each name, beside its own
	maxKept   = 256 << 10 // bytes: 2048 names at the most, so half of the slots stay empty
)

// names remembers the fields of earlier payloads, so that a fleet that sends
// the same names all day costs no allocation and its names are compared with
// the time keys once. It is a hash table that only grows, with open addressing
// and without locks: a slot goes from nil to its field once and for all. Once
// it is full, further names are made anew each time, which is slower and
// nothing else. The seed keeps a peer from choosing names that collide.
type names struct {
	seed  maphash.Seed
	roles map[string]role // lower-case last parts of names; read only
	spent atomic.Int64
	slots [nameSlots]atomic.Pointer[field]
}

func newNames(timeKeys, batchKeys []string) *names {
	n := &names{seed: maphash.MakeSeed(), roles: make(map[string]role)}
	n.assign(batchField, batchKeys)
	n.assign(timeField, timeKeys)
	return n
}

// assign gives names their role, before any has been found.
func (n *names) assign(r role, names []string) {
	for _, k := range names {
		n.roles[strings.ToLower(k)] = r
	}
}

// find returns the field called name, which it copies when it is new.
func (n *names) find(name []byte) field {
	at := maphash.Bytes(n.seed, name)
	for ; ; at++ {
		known := n.slots[at%nameSlots].Load()
		if known == nil {
			return n.learn(name, at)
		}
		if known.name == string(name) {
			return *known
		}
	}
}

// learn makes the field and keeps it from slot at on, if there is room.
func (n *names) learn(name []byte, at uint64) field {
	made := n.classify(string(name))
	if n.spent.Add(nameCost+int64(len(name))) > maxKept {
		return made
	}
	kept := &made
	for ; !n.slots[at%nameSlots].CompareAndSwap(nil, kept); at++ {
		if n.slots[at%nameSlots].Load().name == made.name {
			break // another goroutine was faster
		}
	}
	return made
}

// classify finds the role of a name by its last dotted part, so that a nested
// object and its flattened form mean the same.
func (n *names) classify(name string) field {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return field{name: name, role: n.roles[strings.ToLower(last)]}
}
