package coapin

import (
	"context"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// narrow is a custody that has no room until there is something in room.
type narrow struct {
	*ingesttest.Custody
	room chan struct{}
}

func (n narrow) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	select {
	case <-n.room:
		return n.Custody.Accept(ctx, rs, notes...)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// While custody has no room, requests are refused rather than left in the socket:
// what waits there for minutes would be stamped with a time at which nothing was
// measured, when its device has long given up.
func TestRequestsDoNotWaitLongForRoom(t *testing.T) {
	custody := narrow{instant(), make(chan struct{})}
	s := start(t, custody, Config{ListenDTLS: "127.0.0.1:0", Listen: "127.0.0.1:0", Key: testKeys})
	plain, secure := dial(t, plainAddr(t, s)), dialDTLS(t, secureAddr(t, s))
	began := time.Now()
	for range 20 { // all of them together take no longer than the first
		for _, c := range []*client{plain, secure} {
			got := c.expect(c.request(confirmable, post, "d").carrying("1"), notNow)
			if age, ok := got.value(optMaxAge); !ok || age != whenBusy {
				t.Errorf("Max-Age %d", age)
			}
		}
	}
	if took := time.Since(began); took > ingesttest.Patience {
		t.Errorf("20 refusals took %v", took)
	}
	close(custody.room)
	plain.expect(plain.request(confirmable, post, "d").carrying("1"), changed)
	if s := s.Stats(); s.NotStored != 40 {
		t.Errorf("%+v", s)
	}
}
