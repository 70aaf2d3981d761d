package coapin

import "encoding/binary"

// The parts of a record of RFC 6347 §4.1: type, version, epoch, sequence number,
// length.
const (
	recordHeader     = 13
	contentHandshake = 22
	contentData      = 23
	contentWithID    = 25 // of a peer that has a connection ID, which nobody has here
	clientHello      = 1
	serverHello      = 2
)

// What a session is given to read, in bytes. The library collects handshake
// messages in parts, up to 2 MB for each session: what is given to it must be
// bounded by us.
const (
	// maxSecure is the largest datagram: a record, and a part of another.
	maxSecure = 2 * maxRecord
	// maxShake is for a whole handshake, with repeats. A client with a
	// pre-shared key says less than a kilobyte.
	maxShake = 16 << 10
	// maxReshake is what a session that stands takes of handshake records: its
	// peer repeats the last ones when our answer to them was lost.
	maxReshake = 2 << 10
)

func isHello(b []byte) bool { return isHandshake(b, clientHello) }

// isHandshake says whether a datagram begins with that message, not encrypted.
func isHandshake(b []byte, message byte) bool {
	return len(b) > recordHeader && b[0] == contentHandshake && epoch(b) == 0 && b[recordHeader] == message
}

// isData says whether a datagram begins with data, encrypted.
func isData(b []byte) bool {
	return len(b) >= recordHeader && b[0] == contentData && epoch(b) > 0
}

func epoch(record []byte) uint16 { return binary.BigEndian.Uint16(record[3:]) }

// encrypted returns the records of a datagram that are encrypted, in memory of
// their own. reshake is how many bytes of handshake messages there may still be
// among them.
//
// After a handshake nothing else can come from the peer: what it has to repeat of
// it ends with a record that is encrypted, which is enough to be answered.
// Anybody could have sent the others, and some of them would end the session.
func encrypted(b []byte, reshake *int) []byte {
	var kept []byte
	for len(b) >= recordHeader {
		n := recordHeader + int(binary.BigEndian.Uint16(b[recordHeader-2:]))
		if n > len(b) {
			break
		}
		one := b[:n:n]
		b = b[n:]
		switch {
		case epoch(one) == 0 || one[0] == contentWithID:
			continue
		case one[0] == contentHandshake && n > *reshake:
			continue
		case one[0] == contentHandshake:
			*reshake -= n
		}
		kept = append(kept, one...)
	}
	return kept
}
