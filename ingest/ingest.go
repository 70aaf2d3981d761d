// Package ingest holds the contracts between the doors in and the rest of the
// house, and the Intake that every reading passes through.
//
// A door (a Source) reads from its transport, decodes, and hands readings to
// the Intake. The Intake stamps them, gives them to custody, and shows them to
// whoever watches. What comes back is a Receipt: when it resolves, the readings
// are on flash and the door may acknowledge. Not before.
package ingest

import (
	"context"
	"errors"

	"github.com/tidegate/tidegate/reading"
)

// ErrFull means that custody has no room for more readings and that the policy
// is to refuse new ones rather than to evict old ones.
var ErrFull = errors.New("buffer is full")

// Custody takes responsibility for readings, and for what a door must not
// forget about them. The buffer is the only implementation outside tests.
type Custody interface {
	// Accept takes the readings into the open group and returns at once; it
	// blocks only for back-pressure. An error means that nothing of them was
	// taken. The slice belongs to the caller again as soon as Accept returns.
	//
	// The notes become durable in the same commit as the readings: after a
	// crash both are there, or neither. Either may be empty.
	Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (Receipt, error)
	// Notes calls visit with every note whose key begins with prefix, in the
	// order of keys. It waits for what is being committed. The value is valid
	// during the call. It is meant for the start of a door.
	Notes(ctx context.Context, prefix string, visit func(reading.Note) error) error
}

// Receipt stands for readings on their way to flash. Two receipts of the same
// group compare equal with ==, which lets a door keep one for many messages.
type Receipt interface {
	// Wait returns nil when custody is taken (the readings are on flash), and
	// the source may acknowledge. An error means that they are not, and it
	// must not. Receipts of one lane resolve in order.
	Wait(ctx context.Context) error
}

// Source is a door in.
type Source interface {
	// Run reads until ctx ends or the source breaks; it returns only after
	// every goroutine that it started has ended. It never retries opening for
	// ever: it returns the error, and daemon restarts it.
	Run(ctx context.Context, intake *Intake) error
}

// Live is shown every reading that custody took. Publish never blocks and must
// not keep the slice.
type Live interface {
	Publish(rs []reading.Reading)
}
