package cloud

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// laneID names one sequence of readings.
type laneID struct {
	gateway string
	epoch   uint64
	lane    reading.Lane
}

// key is the prefix of everything that is stored of the lane: the gateway's
// name, a zero byte that ends it, the epoch and the lane. Keys of one gateway
// stand together, in the order of names.
func (id laneID) key() []byte {
	k := make([]byte, 0, len(id.gateway)+1+8+1+8) // room for a sequence number
	k = append(k, id.gateway...)
	k = append(k, 0)
	k = binary.BigEndian.AppendUint64(k, id.epoch)
	return append(k, byte(id.lane))
}

// laneSuffix is the length of what follows the gateway's name and its zero
// byte: epoch and lane.
const laneSuffix = 8 + 1

// parseLaneKey is the inverse of laneID.key.
func parseLaneKey(k []byte) (laneID, bool) {
	name := bytes.IndexByte(k, 0)
	if name < 1 || len(k) != name+1+laneSuffix {
		return laneID{}, false
	}
	return laneID{
		gateway: string(k[:name]),
		epoch:   binary.BigEndian.Uint64(k[name+1:]),
		lane:    reading.Lane(k[name+9]),
	}, true
}

// validGateway reports whether the name can be a key and a line of a table:
// printable text, and no zero byte in particular.
func validGateway(name string) bool {
	return len(name) >= 1 && len(name) <= wire.MaxGateway && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

// seqKey is the key of a sequence number under a prefix.
func seqKey(prefix []byte, seq uint64) []byte {
	k := make([]byte, 0, len(prefix)+8)
	return binary.BigEndian.AppendUint64(append(k, prefix...), seq)
}

// seqOf is the inverse of seqKey; false when the key has another prefix.
func seqOf(prefix, k []byte) (uint64, bool) {
	if len(k) != len(prefix)+8 || !bytes.HasPrefix(k, prefix) {
		return 0, false
	}
	return binary.BigEndian.Uint64(k[len(prefix):]), true
}

// floor moves the cursor to the greatest key under the prefix that is at most
// seq, or to the first one after it when there is none.
func floor(c *bbolt.Cursor, prefix []byte, seq uint64) (k, v []byte) {
	want := seqKey(prefix, seq)
	k, v = c.Seek(want)
	if bytes.Equal(k, want) {
		return k, v
	}
	if k == nil {
		k, v = c.Last()
	} else {
		k, v = c.Prev()
	}
	if k != nil && bytes.HasPrefix(k, prefix) {
		return k, v
	}
	return c.Seek(want)
}
