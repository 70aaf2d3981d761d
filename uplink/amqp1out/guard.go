package amqp1out

import (
	"encoding/binary"
	"fmt"
	"net"
)

// maxFrame is the size in bytes of the largest frame that the server is told to
// send.
const maxFrame = 64 << 10

// guard is a connection that ends at the first frame which is too large. The
// library would wait for its end, and keep up to two gigabytes until then: what
// does not speak AMQP at all begins with letters, and they are a large number.
type guard struct {
	net.Conn
	frames frames
}

func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if bad := g.frames.follow(p[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

// frames follows a stream of frames, and of the protocol headers before them.
type frames struct {
	head [4]byte // of a frame that has begun
	have int     // bytes of head
	left int     // bytes until the next one
}

// follow looks at the next bytes of the stream. It allocates nothing.
func (f *frames) follow(p []byte) error {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, len(p))
			f.left, p = f.left-n, p[n:]
			continue
		}
		f.head[f.have] = p[0]
		f.have, p = f.have+1, p[1:]
		if f.have < len(f.head) {
			continue
		}
		f.have = 0
		size := binary.BigEndian.Uint32(f.head[:])
		switch {
		case string(f.head[:]) == "AMQP":
			f.left = 4
		case size < 8 || size > maxFrame:
			return fmt.Errorf("a frame of %d bytes, of at most %d — hint: the other side does not speak AMQP 1.0; check the port", size, maxFrame)
		default:
			f.left = int(size) - len(f.head)
		}
	}
	return nil
}
