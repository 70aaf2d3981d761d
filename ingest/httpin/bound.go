package httpin

import (
	"net"
	"sync"
	"sync/atomic"
)

// bounded is a listener that closes connections beyond a number at once: to let
// them wait would keep their devices from trying elsewhere.
type bounded struct {
	net.Listener
	limit int64
	stats *counters
}

func newBounded(l net.Listener, limit int, stats *counters) *bounded {
	return &bounded{Listener: l, limit: int64(limit), stats: stats}
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if b.stats.clients.Add(1) <= b.limit {
			return &counted{Conn: conn, stats: b.stats}, nil
		}
		b.stats.clients.Add(-1)
		b.stats.turnedAway.Add(1)
		conn.Close()
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	stats *counters
	once  sync.Once
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.once.Do(func() { c.stats.clients.Add(-1) })
	return c.Conn.Close()
}

// budget is a number of bytes that requests take and give back.
type budget struct{ left atomic.Int64 }

func newBudget(bytes int) *budget {
	b := new(budget)
	b.left.Store(int64(bytes))
	return b
}

// take returns false when there is not enough left.
func (b *budget) take(n int64) bool {
	if b.left.Add(-n) < 0 {
		b.left.Add(n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.left.Add(n) }

// bill is what one request has taken of a budget.
type bill struct {
	from  *budget
	taken int
}

// take returns false when there is not enough left.
func (b *bill) take(n int) bool {
	if !b.from.take(int64(n)) {
		return false
	}
	b.taken += n
	return true
}

func (b *bill) give(n int) {
	b.from.give(int64(n))
	b.taken -= n
}

// pay gives back all that was taken.
func (b *bill) pay() { b.give(b.taken) }

// counters count what Stats tells.
type counters struct {
	clients                        atomic.Int64
	requests, opaque, dropped      atomic.Uint64
	notStored, badLogins, denied   atomic.Uint64
	turnedAway, tooLarge, overload atomic.Uint64
}

// Stats counts since the start, except for Clients.
type Stats struct {
	// Clients are the connections that are open now.
	Clients int
	// Requests were answered 201 or 204.
	Requests uint64
	// Opaque payloads could not be decoded and were kept whole; Dropped ones
	// could not either and were not kept.
	Opaque, Dropped uint64
	// NotStored requests were told to come again, because custody had no room or
	// failed; Overloaded ones because memory had none.
	NotStored, Overloaded uint64
	// BadLogins had a wrong password or token, or none; Denied ones a token that
	// is for other topics.
	BadLogins, Denied uint64
	// TurnedAway connections were too many; TooLarge bodies too large.
	TurnedAway, TooLarge uint64
}

// Stats returns the counts so far.
func (s *Source) Stats() Stats {
	n := &s.stats
	return Stats{
		Clients: int(n.clients.Load()), Requests: n.requests.Load(), Opaque: n.opaque.Load(), Dropped: n.dropped.Load(),
		NotStored: n.notStored.Load(), Overloaded: n.overload.Load(), BadLogins: n.badLogins.Load(), Denied: n.denied.Load(),
		TurnedAway: n.turnedAway.Load(), TooLarge: n.tooLarge.Load(),
	}
}
