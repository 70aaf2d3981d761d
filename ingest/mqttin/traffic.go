package mqttin

import (
	"math"
	"sync/atomic"
)

// traffic counts what passes through all connections, for the $SYS topics.
type traffic struct {
	sockets, connects      atomic.Uint64 // connections, and CONNECTs on them
	packets, packetsSent   atomic.Uint64 // of all types
	payload, payloadSent   atomic.Uint64 // bytes in publishes
	bytesSent, publishSent atomic.Uint64
}

// left counts whole packets that leave a gate.
func (t *traffic) left(due []byte, version byte) {
	var packets, publishes, payload uint64
	for rest := due; len(rest) > 0; packets++ {
		f, ok, err := nextFrame(rest, math.MaxInt)
		if !ok || err != nil {
			break // nobody writes half a packet
		}
		rest = rest[f.size:]
		if f.packetType() != typePublish {
			continue
		}
		publishes++
		if p, err := parsePublish(f, version); err == nil {
			payload += uint64(len(p.payload))
		}
	}
	t.bytesSent.Add(uint64(len(due)))
	t.packetsSent.Add(packets)
	if publishes > 0 {
		t.publishSent.Add(publishes)
		t.payloadSent.Add(payload)
	}
}
