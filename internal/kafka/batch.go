package kafka

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// Record is one message of a batch.
type Record struct {
	// Key, if not nil, and Value are the message.
	Key, Value []byte
	// Headers are in their order, and may have a name twice.
	Headers []Header
	// Time is in milliseconds since the Unix epoch.
	Time int64
}

// Header is a name and a value beside a Record.
type Header struct {
	Key   string
	Value []byte
}

// Overhead is what a batch has beside its records, in bytes.
const Overhead = 61

// Where the fields of a batch begin, in bytes. The checksum is over all that
// follows it.
const (
	atLength     = 8
	atLeader     = 12
	atMagic      = 16
	atChecksum   = 17
	atAttributes = 21
	atLastOffset = 23
	atFirstTime  = 27
	atLastTime   = 35
	atProducer   = 43
	atEpoch      = 51
	atSequence   = 53
	atCount      = 57
)

// magic is the version of the batch's format.
const magic = 2

// Most returns an upper bound of what a record takes in a batch, in bytes,
// whatever is in the batch before it.
func (r *Record) Most() int {
	const length, attributes, time, offset, count = 5, 1, 10, 5, 5
	n := length + attributes + time + offset + count + sized(len(r.Key)) + sized(len(r.Value))
	for _, h := range r.Headers {
		n += sized(len(h.Key)) + sized(len(h.Value))
	}
	return n
}

// sized is how long a field of n bytes is with its length, which is a zigzag
// varint.
func sized(n int) int { return varintSize(int64(n)) + n }

// varintSize is how many bytes a zigzag varint has.
func varintSize(n int64) int {
	return (bits.Len64(uint64(n)<<1^uint64(n>>63)|1) + 6) / 7
}

// AppendBatch appends a batch of one record or more, packed if p makes it smaller.
// It has no producer yet, and no checksum: Seal adds them.
func AppendBatch(dst []byte, records []Record, p *Packer) []byte {
	begin := len(dst)
	first, last := records[0].Time, records[0].Time
	dst = append(dst, make([]byte, Overhead)...)
	for i := range records {
		last = max(last, records[i].Time)
		dst = appendRecord(dst, &records[i], records[i].Time-first, i)
	}
	codec := None
	if packed, c := p.pack(dst[begin+Overhead:]); c != None {
		dst, codec = append(dst[:begin+Overhead], packed...), c
	}
	batch := dst[begin:]
	binary.BigEndian.PutUint32(batch[atLength:], uint32(len(batch)-atLeader))
	binary.BigEndian.PutUint32(batch[atLeader:], ^uint32(0)) // the broker knows
	batch[atMagic] = magic
	binary.BigEndian.PutUint16(batch[atAttributes:], uint16(codec))
	binary.BigEndian.PutUint32(batch[atLastOffset:], uint32(len(records)-1))
	binary.BigEndian.PutUint64(batch[atFirstTime:], uint64(first))
	binary.BigEndian.PutUint64(batch[atLastTime:], uint64(last))
	binary.BigEndian.PutUint32(batch[atCount:], uint32(len(records)))
	return dst
}

func appendRecord(dst []byte, r *Record, time int64, offset int) []byte {
	n := 1 + varintSize(time) + varintSize(int64(offset)) + varintSize(int64(len(r.Headers))) + sized(len(r.Value))
	if r.Key == nil {
		n++
	} else {
		n += sized(len(r.Key))
	}
	for _, h := range r.Headers {
		n += sized(len(h.Key)) + sized(len(h.Value))
	}
	dst = binary.AppendVarint(dst, int64(n))
	dst = append(dst, 0) // attributes, of which there are none yet
	dst = binary.AppendVarint(dst, time)
	dst = binary.AppendVarint(dst, int64(offset))
	if r.Key == nil {
		dst = binary.AppendVarint(dst, -1)
	} else {
		dst = append(binary.AppendVarint(dst, int64(len(r.Key))), r.Key...)
	}
	dst = append(binary.AppendVarint(dst, int64(len(r.Value))), r.Value...)
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for _, h := range r.Headers {
		dst = append(binary.AppendVarint(dst, int64(len(h.Key))), h.Key...)
		dst = append(binary.AppendVarint(dst, int64(len(h.Value))), h.Value...)
	}
	return dst
}

// Seal says who sends the batch, and the number of its first record; then it is
// ready. Sealed twice in the same way it has the same bytes, which is what brokers
// know a batch by that they have already.
func Seal(batch []byte, producer int64, epoch int16, sequence int32) {
	binary.BigEndian.PutUint64(batch[atProducer:], uint64(producer))
	binary.BigEndian.PutUint16(batch[atEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(batch[atSequence:], uint32(sequence))
	sum := crc32.Checksum(batch[atAttributes:], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(batch[atChecksum:], sum)
}

// Partition returns the partition of n that a key belongs to, the same one as of
// Java's clients: murmur2, without the sign.
func Partition(key []byte, n int) int32 {
	return int32(murmur2(key)&0x7fffffff) % int32(n)
}

// murmur2 is Austin Appleby's hash in the 32-bit form, and with the seed, that
// org.apache.kafka.common.utils.Utils has.
func murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := binary.LittleEndian.Uint32(b) * m
		h = h*m ^ (k^k>>r)*m
	}
	if len(b) > 0 {
		var tail uint32
		for i, c := range b {
			tail |= uint32(c) << (8 * i)
		}
		h = (h ^ tail) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}
