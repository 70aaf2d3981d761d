package ingesttest

import (
	"context"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// Discard is a custody for benchmarks of doors: it takes everything, says at
// once that it is on flash, and forgets it.
type Discard struct{}

// Accept implements ingest.Custody.
func (Discard) Accept(context.Context, []reading.Reading, ...reading.Note) (ingest.Receipt, error) {
	return done{}, nil
}

// Notes implements ingest.Custody.
func (Discard) Notes(context.Context, string, func(reading.Note) error) error { return nil }

type done struct{}

// Wait implements ingest.Receipt.
func (done) Wait(context.Context) error { return nil }
