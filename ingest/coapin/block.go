package coapin

// block is the value of a Block1 or Block2 option, RFC 7959 §2.2.
type block struct {
	number uint32
	more   bool
	szx    byte // the size is 16 << szx
}

const (
	maxSZX      = 6 // 1024 bytes; 7 is reserved over UDP
	maxBlocks   = 1 << 20
	smallestSZX = 0
)

func parseBlock(value []byte) (block, bool) {
	n := uintValue(value)
	b := block{number: n >> 4, more: n>>3&1 == 1, szx: byte(n & 7)}
	return b, b.szx <= maxSZX
}

func (b block) size() int { return 16 << b.szx }

// offset is where the block begins in the body.
func (b block) offset() int { return int(b.number) << (b.szx + 4) }

func (b block) value() uint32 {
	n := b.number<<4 | uint32(b.szx)
	if b.more {
		n |= 8
	}
	return n
}

// within cuts the block out of a body, and says whether there is more after it.
// It returns false for a block that begins after the end.
func (b block) within(body []byte) (block, []byte, bool) {
	from := b.offset()
	if from > 0 && from >= len(body) {
		return b, nil, false
	}
	to := min(from+b.size(), len(body))
	b.more = to < len(body)
	return b, body[from:to], true
}
