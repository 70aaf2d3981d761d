package redisout

import (
	"errors"
	"net"
)

// Bounds of one reply. The longest that is asked for is a section of INFO.
const (
	maxLine  = 4 << 10
	maxBulk  = 256 << 10
	maxArray = 64
	maxDepth = 4
)

// errReply says that what came in is no reply, or a huge one.
var errReply = errors.New("that is not how Redis answers — hint: check host and port, and whether tls is right for it")

// guarded is a connection whose replies are looked at before the library reads
// them: it believes every length, and one that cannot be would end the program.
type guarded struct {
	net.Conn
	reply replies
}

func (g *guarded) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if bad := g.reply.check(p[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

// Close does nothing. The library closes when a write fails, and what the server
// has said about it by then would never be read.
func (*guarded) Close() error { return nil }

// replies follows a stream of replies, of version 2 of the protocol
// (https://redis.io/docs/latest/develop/reference/protocol-spec/).
type replies struct {
	kind  byte // of the line that is being read; 0 at its begin
	line  int  // its length so far
	size  int  // the number in it
	minus bool
	bulk  int   // bytes of a string that are still to come, with its end
	open  []int // elements to come of the arrays that we are in
}

// check reads on, and returns an error if a reply is none, or out of bounds.
func (r *replies) check(p []byte) error {
	for len(p) > 0 {
		if r.bulk > 0 {
			n := min(r.bulk, len(p))
			if r.bulk -= n; r.bulk == 0 {
				r.element()
			}
			p = p[n:]
			continue
		}
		if err := r.next(p[0]); err != nil {
			return err
		}
		p = p[1:]
	}
	return nil
}

// next takes one byte of a line.
func (r *replies) next(b byte) error {
	r.line++
	switch {
	case r.line > maxLine:
		return errReply
	case r.kind == 0:
		if b != '+' && b != '-' && b != ':' && b != '$' && b != '*' {
			return errReply
		}
		r.kind, r.size, r.minus = b, 0, false
		return nil
	case b == '\n':
		return r.endOfLine()
	case r.kind != '$' && r.kind != '*', b == '\r':
		return nil
	case b == '-' && r.line == 2:
		r.minus = true
		return nil
	case b < '0' || b > '9':
		return errReply
	}
	r.size = min(r.size*10+int(b-'0'), maxBulk+1)
	return nil
}

func (r *replies) endOfLine() error {
	kind := r.kind
	r.kind, r.line = 0, 0
	switch {
	case kind != '$' && kind != '*' || r.minus:
		r.element()
	case kind == '$' && r.size > maxBulk, kind == '*' && (r.size > maxArray || len(r.open) == maxDepth):
		return errReply
	case kind == '$':
		r.bulk = r.size + len("\r\n")
	case r.size == 0:
		r.element()
	default:
		r.open = append(r.open, r.size)
	}
	return nil
}

// element ends an element, and the arrays that it is the last of.
func (r *replies) element() {
	for n := len(r.open); n > 0; n-- {
		if r.open[n-1]--; r.open[n-1] > 0 {
			return
		}
		r.open = r.open[:n-1]
	}
}
