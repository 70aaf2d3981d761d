package coapin

import "strconv"

// answer is a response before it is encoded.
type answer struct {
	code code
	// block1 says which part of the payload is answered, if inBlocks.
	block1   block
	inBlocks bool
	// maxAge is after how many seconds the peer may try again; 0 for not said.
	maxAge uint32
	// size1 is the largest body; 0 for not said.
	size1 uint32
	// payload is what was asked for, block2 which part of it, with format and
	// etag; or words for people if block2 is nil.
	payload []byte
	block2  *block
	format  uint32
	etag    []byte
}

// appendTo appends the answer as a message of that kind, id and token.
func (a *answer) appendTo(b []byte, k kind, id uint16, token []byte) []byte {
	m := message{kind: k, code: a.code, id: id, token: token}
	b = m.appendTo(b)
	last := uint16(0)
	add := func(number uint16, value []byte) {
		b = appendOption(b, number-last, value)
		last = number
	}
	var scratch [4]byte
	number := func(n uint16, value uint32) { add(n, appendUint(scratch[:0], value)) }
	if a.block2 != nil {
		add(optETag, a.etag)
		number(optContentFormat, a.format)
	}
	if a.maxAge > 0 {
		number(optMaxAge, a.maxAge)
	}
	if a.block2 != nil {
		number(optBlock2, a.block2.value())
	}
	if a.inBlocks {
		number(optBlock1, a.block1.value())
	}
	if a.size1 > 0 {
		number(optSize1, a.size1)
	}
	return appendPayload(b, a.payload)
}

// amplification is how many times larger than its request an answer to an
// address may be that nobody has proved to be the sender's, RFC 9175 §2.6.
const amplification = 3

// maxAnswer is the largest datagram that is sent, in bytes: a block of 1024 and
// its options, RFC 7252 §4.6.
const maxAnswer = 1152

// refuse is an answer with words for people.
func refuse(c code, why string) answer { return answer{code: c, payload: []byte(why)} }

func unknownOption(number uint16) string { return "option " + strconv.Itoa(int(number)) }

// The seconds after which to try again.
const (
	whenBusy   = 5  // what waits for custody is waiting for a commit
	whenFull   = 60 // the buffer waits for its links
	whenBroken = 30 // a commit failed
)
