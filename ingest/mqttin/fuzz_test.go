package mqttin

import (
	"io"
	"math/rand/v2"
	"net"
	"runtime/metrics"
	"slices"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// greetings are what a fuzzed connection begins with: nothing, or a CONNECT of
// each version, with a session that lasts in the last.
var greetings = [][]byte{
	nil,
	[]byte("\x10\x11\x00\x06MQIsdp\x03\x02\x00\x00\x00\x03bad"),
	[]byte("\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x03bad"),
	[]byte("\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x03bad"),
	[]byte("\x10\x15\x00\x04MQTT\x05\x00\x00\x00\x05\x11\x00\x00\x00\x09\x00\x03bad"),
}

// trapBytes are packets that the server alone does not survive, or answers
// wrongly.
var trapBytes = []string{
	"\x82\x06\x00\x01\x00\x00\x01d",                              // v5 subscribe without options
	"\x32\x08\x00\x04$SYS\x00\x01",                               // no topic of its own
	"\x34\x06\x00\x01d\x00\x01x\x34\x06\x00\x01d\x00\x01x",       // QoS 2, twice
	"\x34\x06\x00\x01d\x00\x01x\x62\x02\x00\x01\x62\x02\x00\x01", // released twice
	"\x82\x06\x00\x01\x00\x01#\x02\x34\x06\x00\x01d\x00\x01x",    // one's own QoS 2
	"\x82\x06\x00\x01\x00\x01#\x01\x32\x06\x00\x01d\x00\x01x\xa2\x05\x00\x01\x00\x01#",
	"\x31\x04\x00\x01dx\x82\x06\x00\x01\x00\x01#\x01\x31\x03\x00\x01d", // retained, read, taken away
	"\xe0\x07\x00\x05\x11\x00\x00\x00\x09",                             // v5 disconnect that wants the session to last
	"\x50\x02\x00\x01\x70\x02\x00\x01\x40\x02\x00\x01",                 // of messages that never were
	"\x30\xff\xff\xff\x7f",
	"\xc0\x00\xc0\x00\xc0\x00",
}

// FuzzConnection proves that no bytes at all, however they are cut, harm anybody
// but their sender: nothing panics, the connection ends when its peer does,
// little memory is used, and a witness is served all the time.
func FuzzConnection(f *testing.F) {
	for greeting := range greetings {
		for _, tt := range hostile {
			f.Add(byte(greeting), uint64(1), []byte(tt.bytes))
		}
		for _, tt := range friendly {
			f.Add(byte(greeting), uint64(2), []byte(tt.bytes))
		}
		for _, b := range trapBytes {
			f.Add(byte(greeting), uint64(3), []byte(b))
		}
	}
	src := start(f, blackHole{}, Config{})
	witness := connect(f, src, 4, "witness")
	witness.subscribe(1, 1, "witness")
	f.Fuzz(func(t *testing.T, greeting byte, cut uint64, b []byte) {
		before := allocated()
		play(t, src, slices.Concat(greetings[int(greeting)%len(greetings)], b), cut)
		if used := allocated() - before; used > 4<<20+256*uint64(len(b)) {
			t.Errorf("%d bytes of input cost %d bytes of memory", len(b), used)
		}
		witness.t = t
		serveWitness(witness)
	})
}

// play writes bytes to a connection in pieces, reads whatever comes, and waits
// for the end.
func play(t *testing.T, src *Source, b []byte, cut uint64) {
	t.Helper()
	ours, theirs := net.Pipe()
	served, read := make(chan struct{}), make(chan struct{})
	go func() {
		src.ServeConn(theirs)
		close(served)
	}()
	go func() {
		io.Copy(io.Discard, ours)
		close(read)
	}()
	pieces := rand.New(rand.NewPCG(cut, 0))
	ours.SetWriteDeadline(time.Now().Add(ingesttest.Patience))
	for len(b) > 0 {
		n := 1 + pieces.IntN(min(len(b), 64))
		if cut == 0 {
			n = len(b)
		}
		if _, err := ours.Write(b[:n]); err != nil {
			break // refused, and that is that
		}
		b = b[n:]
	}
	ours.Close()
	select {
	case <-served:
	case <-time.After(ingesttest.Patience):
		t.Fatal("connection goes on without its peer")
	}
	<-read
}

// serveWitness checks that a client's publish is acknowledged and comes back.
func serveWitness(c *client) {
	c.t.Helper()
	c.publish("witness", "1", 1, 1)
	for want := 2; want > 0; want-- {
		switch pk := c.read(); pk.FixedHeader.Type {
		case packets.Puback:
		case packets.Publish:
			c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: pk.PacketID})
		default:
			c.t.Fatalf("got %s", packets.PacketNames[pk.FixedHeader.Type])
		}
	}
}

// allocated is how many bytes were allocated since the start.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
