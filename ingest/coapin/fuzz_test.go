package coapin

import (
	"bytes"
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// FuzzConversation feeds a server datagrams of two peers whom it does not trust.
// Whatever they say, it stays within its bounds, and each datagram is answered
// with one message at the most, which is not much larger.
func FuzzConversation(f *testing.F) {
	talk := func(all ...message) (b []byte) {
		for _, m := range all {
			one := m.appendTo(nil)
			b = append(append(b, byte(len(one))), one...)
		}
		return b
	}
	path := option{optUriPath, []byte("d")}
	one := message{code: post, id: 1, token: []byte{1}, options: []option{path}, payload: []byte("1")}
	f.Add(talk(one, one, message{kind: nonConfirmable, code: put, id: 2, options: []option{path}, payload: []byte("2")}))
	blocks := func(id uint16, b block, payload string) message {
		return message{code: put, id: id, options: []option{path, {optBlock1, appendUint(nil, b.value())}}, payload: []byte(payload)}
	}
	f.Add(talk(blocks(1, block{more: true}, "0123456789abcdef"), blocks(2, block{number: 1, more: true}, "0123456789abcdef"), blocks(3, block{number: 2}, "x")))
	list := message{code: get, id: 9, options: []option{{optUriPath, []byte(".well-known")}, {optUriPath, []byte("core")}, {optBlock2, []byte{0x16}}}}
	f.Add(talk(one, list, message{kind: confirmable}, message{kind: reset, id: 3}))
	s := newSource(f, Config{MaxBody: 200, MaxBodies: 2000, MaxExchanges: 4, MaxWaiting: 2, MaxEndpoints: 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		v := newServer(s, ingest.NewIntake(ingesttest.Discard{}, nil, time.Now))
		out := &judge{T: t}
		for i := 0; len(b) > 0; i++ {
			n := min(int(b[0]), len(b)-1)
			out.asked, out.answers, b = b[1:1+n], 0, b[1+n:]
			at := destination{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(i%2))}
			v.take(context.Background(), out.asked, origin{at: at, out: out})
			if i%3 != 0 {
				out.asked = nil
				v.settle()
			}
			v.bodies.sure(t)
			if v.exchanges.length > v.exchanges.most || len(v.endpoints.known) > 1 || v.waiting < 0 || v.waiting > 2 {
				t.Fatalf("%d exchanges, %d endpoints, %d wait", v.exchanges.length, len(v.endpoints.known), v.waiting)
			}
		}
	})
}

// settle answers all that waits.
func (v *server) settle() {
	for {
		select {
		case d := <-v.due:
			v.release()
			v.finish(nil, d.exchange, &d.answer)
		default:
			return
		}
	}
}

// judge is a carrier that looks at what is sent.
type judge struct {
	*testing.T
	asked   []byte // nil while it is answered what was asked before
	answers int
}

func (j *judge) send(b []byte, _ destination) {
	var m message
	if err := m.parse(b); err != nil {
		j.Fatalf("%x in answer to %x: %v", b, j.asked, err)
	}
	if again := m.appendTo(nil); !bytes.Equal(again, b) {
		j.Fatalf("%x in answer to %x should be %x", b, j.asked, again)
	}
	late := j.asked == nil // 2.04, which has no more than token and Block1
	j.answers++
	if m.kind == confirmable || late && len(b) > headerSize+maxToken+4 || !late && (j.answers > 1 || len(b) > amplification*len(j.asked)) {
		j.Fatalf("%x in answer to %x", b, j.asked)
	}
}
