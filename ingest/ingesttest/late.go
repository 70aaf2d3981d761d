package ingesttest

import (
	"context"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// Late is a custody whose commits come just after somebody's patience ends.
type Late struct{ *Custody }

// Accept implements ingest.Custody.
func (c Late) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	if _, err := c.Custody.Accept(ctx, rs, notes...); err != nil {
		return nil, err
	}
	return new(atLast), nil
}

// atLast is a receipt that resolves when the context of the first Wait has ended.
type atLast struct{ waited bool }

// Wait implements ingest.Receipt.
func (r *atLast) Wait(ctx context.Context) error {
	if r.waited {
		return nil
	}
	r.waited = true
	<-ctx.Done()
	return ctx.Err()
}
