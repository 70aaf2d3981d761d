// Package uplink moves blocks from the buffer to the other side: next → encode
// → pace → send → ack, with a bounded number of messages in flight.
//
// It knows neither flash nor protocols. The buffer is behind Cursor, the
// encoding behind Encoder, the protocol behind Sink, and the place for blocks
// that the other side will not have behind Quarantine. One Forwarder serves one
// sink:
//
//	f := uplink.New(uplink.Config{Gateway: "north-7"}, cursor, encoder, sink, quarantine, log)
//	go f.Run(ctx)
//	f.Stats() // what the dashboard shows
//
// DESIGN.md tells how messages are sized, what happens on which error, and what
// a crash may repeat.
package uplink

import (
	"context"
	"fmt"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// Cursor is one sink's place in the buffer.
type Cursor interface {
	// Next returns consecutive blocks of one lane: at least one, and no more
	// than limit bytes unless a single block is larger. It waits until there is
	// one. Which blocks are next is the Cursor's decision: the newest may come
	// before a backlog. Next never deletes; the same blocks are not returned
	// twice in one run, but after a crash Next may repeat, never skip.
	Next(ctx context.Context, limit int) ([]wire.Block, error)
	// Ack says that the readings first..last of the lane are elsewhere. Acks
	// come in any order.
	Ack(lane reading.Lane, first, last uint64) error
}

// Encoder turns consecutive blocks of one lane into a message body.
type Encoder interface {
	// Encode appends the body for the blocks to dst.
	Encode(dst []byte, blocks []wire.Block) ([]byte, error)
	// ContentType is the media type of the body, for example
	// "application/vnd.tidegate.chunk".
	ContentType() string
}

// Key names what a message carries. Re-sends repeat the key, and the receiver
// drops what it already has: that makes delivery exactly once in effect.
type Key struct {
	Gateway     string
	Epoch       uint64
	Lane        reading.Lane
	First, Last uint64
}

// String is the key as it travels in headers and message ids:
// gateway/epoch(hex)/lane/first-last.
func (k Key) String() string {
	return fmt.Sprintf("%s/%016x/%s/%d-%d", k.Gateway, k.Epoch, k.Lane, k.First, k.Last)
}

// Message is what a Sink sends: an encoded body and its key.
type Message struct {
	Key
	// Count is the number of readings in the body.
	Count int
	// ContentType is the Encoder's.
	ContentType string
	// Body is never changed once Send has begun: a transport may still be
	// reading it when Send has given up. A Sink must not change it either.
	Body []byte
}

// Sink is a door out.
type Sink interface {
	// Send returns nil only when the remote side has taken custody of the
	// whole message. Permanent(err) says that the same bytes will fail again,
	// RetryAfter(err, d) that the remote side named a delay; any other error
	// is transient. Send returns soon after ctx has ended, and it may be called
	// from several goroutines at once.
	Send(ctx context.Context, m Message) error
}

// Quarantine keeps what the other side will never take.
type Quarantine interface {
	// Quarantine keeps the block and why it was refused, where people can see
	// it and send it again. Nil means that it is kept, on flash: the block then
	// counts as handled, and its place in the lane is acked.
	Quarantine(b wire.Block, reason string) error
}
