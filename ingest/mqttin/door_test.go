package mqttin

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
)

func TestDoor(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		ingesttest.Run(t, ingesttest.Door{
			New: func(t *testing.T) ingest.Source {
				return New(Config{
					Listen: "127.0.0.1:0", Anonymous: true, Routes: testRoutes(t), Linger: 100 * time.Millisecond,
				}, slog.New(slog.DiscardHandler))
			},
			Speak: func(t *testing.T, source ingest.Source) ingesttest.Peer {
				return peer{connect(t, source.(*Source), 5, ""), qos}
			},
		})
	}
}

// peer is a client as the suite for all doors knows it.
type peer struct {
	*client
	qos byte
}

func (p peer) Send(n int) { p.publish("d", "21.5", p.qos, uint16(n+1)) }

func (p peer) Acked(ctx context.Context) (int, error) {
	deadline, _ := ctx.Deadline()
	pk, err := p.next(time.Until(deadline))
	if err != nil {
		return 0, err
	}
	if want := packets.Puback + p.qos - 1; pk.FixedHeader.Type != want || pk.ReasonCode >= 0x80 {
		return 0, errors.New("not a positive acknowledgement")
	}
	return int(pk.PacketID) - 1, nil
}

func (p peer) Garbage(b []byte) { p.Write(b) }
