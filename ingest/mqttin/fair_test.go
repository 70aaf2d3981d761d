package mqttin

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// Custody that does not take any more stops the socket, not the memory: of a
// flood without acknowledgements, no more is read than one read brings.
func TestFloodWithoutAcksIsReadOnlySoFarAhead(t *testing.T) {
	custody := &stuckCustody{instant(), make(chan struct{})}
	src := start(t, custody, Config{})
	c := connect(t, src, 4, "flood")
	flood := c.encode(publishPacket("d", "21.5", 0, 0))
	stream := []byte(strings.Repeat(string(flood), 100_000))
	before := src.Stats().Bytes
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(stream)
		sent <- err
	}()
	retry(t, func() bool { return src.Stats().Bytes > before })
	c.silent()
	if ahead := src.Stats().Bytes - before; ahead > inputSize+smallInput {
		t.Errorf("%d bytes were read", ahead)
	}
	close(custody.release)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	custody.Taken(t, 100_000)
}

// A flood that has as many messages in flight as it may does not stand before
// anybody else: a quiet client's publish is in custody at once, and so in the
// next commit.
func TestQuietClientDoesNotWaitBehindAFlood(t *testing.T) {
	custody := ingesttest.NewCustody()
	src := start(t, custody, Config{MaxUnacked: 500})
	flood := connect(t, src, 4, "flood")
	var stream []byte
	for id := range uint16(50_000) {
		stream = append(stream, flood.encode(publishPacket("flood", "1", 1, id+1))...)
	}
	sent := make(chan struct{})
	go func() {
		flood.Write(stream) // which the end of the test cuts short
		close(sent)
	}()
	out := serving(src).session("flood").connection().gate
	retry(t, func() bool { // no more is read from it
		out.mu.Lock()
		defer out.mu.Unlock()
		return out.unacked >= 500
	})
	flood.silent()
	behind := len(custody.Taken(t, 0))

	quiet := connect(t, src, 4, "quiet")
	quiet.publish("quiet", "21.5", 1, 1)
	if got := custody.Taken(t, behind+1)[behind]; got.Device != "quiet" {
		t.Errorf("%+v was taken before", got)
	}
	quiet.silent()
	custody.Commit()
	quiet.expect(packets.Puback, 1)
	custody.CommitAtOnce()
	flood.Close()
	<-sent
}

// A flood of connections beyond the limit costs those who are in nothing.
func TestConnectFloodCostsThoseWhoAreInNothing(t *testing.T) {
	const in, flood = 20, 500
	src := start(t, instant(), Config{MaxClients: in})
	var clients []*client
	for i := range in {
		clients = append(clients, connect(t, src, 4, fmt.Sprint("c", i)))
	}
	addr := src.Addr(t.Context()).String()
	for i := range flood {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := clients[i%in]
		c.publish("d", "21.5", 1, uint16(i+1))
		c.expect(packets.Puback, uint16(i+1))
	}
	retry(t, func() bool { return src.Stats().TurnedAway == flood })
	if n := src.Stats().Clients; n != in {
		t.Errorf("%d of %d are still connected", n, in)
	}
}

// stuckCustody takes nothing until it is released.
type stuckCustody struct {
	*ingesttest.Custody
	release chan struct{}
}

func (c *stuckCustody) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	<-c.release
	return c.Custody.Accept(ctx, rs, notes...)
}
