package firmwaresim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// pipeline sends the frames of one device over TCP, up to a window ahead of the
// replies, which come in the order of the frames. A connection that breaks, or
// that keeps silent for too long, is opened again, and everything that was not
// replied to is sent again.
type pipeline struct {
	*sendingDevice
	flights []tcpFlight // oldest first
	made    uint64      // shipments
	due     time.Time
	wait    time.Duration // before the next dial
}

// tcpFlight is a frame that a reply is owed for.
type tcpFlight struct {
	*shipment
	twin bool // the shipment is in flight once more
	sent time.Time
}

// tcpLink is a connection, which its context ends, with the goroutine that reads it.
type tcpLink struct {
	net.Conn
	replies chan error // nil for each reply, or what ended the connection
	reader  sync.WaitGroup
}

func (p *pipeline) run(ctx context.Context) error {
	p.due = time.Now().Add(p.offset)
	for p.made < p.count || len(p.flights) > 0 {
		err := p.connected(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			continue
		}
		p.sender.troubled(err)
		p.wait = min(max(2*p.wait, firstRetry), lastRetry)
		if sleepUntil(ctx, time.Now().Add(p.wait)) != nil {
			return nil
		}
	}
	return nil
}

// connected sends over one connection until everything is done or it breaks.
func (p *pipeline) connected(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer l.reader.Wait()
	defer cancel()
	if err := p.resend(ctx, l); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for p.made < p.count || len(p.flights) > 0 {
		free := p.made < p.count && len(p.flights) < p.sender.cfg.Window
		if free && !time.Now().Before(p.due) {
			if err := p.push(ctx, l); err != nil {
				return err
			}
			// Replies are taken in between, or the other side could not go on.
			select {
			case err := <-l.replies:
				if err := p.replied(err); err != nil {
					return err
				}
			default:
			}
			continue
		}
		timer.Reset(time.Until(p.next(free)))
		select {
		case err := <-l.replies:
			if err := p.replied(err); err != nil {
				return err
			}
		case <-timer.C:
			if len(p.flights) > 0 && time.Since(p.flights[0].sent) >= p.sender.cfg.Timeout {
				return errLate
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// next is when there is something to do again.
func (p *pipeline) next(free bool) time.Time {
	at := time.Now().Add(p.sender.cfg.Timeout)
	if len(p.flights) > 0 {
		at = p.flights[0].sent.Add(p.sender.cfg.Timeout)
	}
	if free && p.due.Before(at) {
		at = p.due
	}
	return at
}

func (p *pipeline) open(ctx context.Context) (*tcpLink, error) {
	conn, err := dial(ctx, p.sendingDevice, &shipment{url: p.urls[""]})
	if err != nil {
		return nil, err
	}
	l := &tcpLink{Conn: conn, replies: make(chan error, p.sender.cfg.Window+1)}
	reply := []byte(p.sender.cfg.Reply)
	l.reader.Go(func() {
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		defer conn.Close()
		b := make([]byte, len(reply))
		for {
			_, err := io.ReadFull(conn, b)
			if err == nil && !bytes.Equal(b, reply) {
				err = fmt.Errorf("%w: %.100q", errOtherReply, b)
			}
			select {
			case l.replies <- err:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	return l, nil
}

// resend sends again what the last connection owed replies for.
func (p *pipeline) resend(ctx context.Context, l *tcpLink) error {
	p.stream.Flush() // what waited there is among it
	owed := p.flights
	p.flights = nil
	for _, f := range owed {
		if f.twin {
			continue
		}
		p.repeat(f.shipment)
		p.flights = append(p.flights, tcpFlight{shipment: f.shipment, sent: time.Now()})
	}
	for _, f := range p.flights {
		if err := writePieces(ctx, l, []Piece{{Bytes: f.payload}}); err != nil {
			return err
		}
	}
	return nil
}

// push sends a new frame.
func (p *pipeline) push(ctx context.Context, l *tcpLink) error {
	load := p.take()
	pieces, copies := p.pieces(load.payload)
	for n := range copies {
		if n > 0 {
			p.repeat(load)
		}
		p.flights = append(p.flights, tcpFlight{load, n > 0, time.Now()})
	}
	if len(p.flights) >= p.sender.cfg.Window || p.made == p.count {
		// Nobody will come that what waits could be merged with.
		if len(pieces) == 0 {
			pieces = p.stream.Flush()
		}
	}
	return writePieces(ctx, l, pieces)
}

func (p *pipeline) take() *shipment {
	p.made++
	if p.due = p.due.Add(p.period); p.due.Before(time.Now().Add(-max(p.period, maxLate))) {
		p.due = time.Now()
	}
	return p.sendingDevice.next()
}

var errTooMany = errors.New("more replies than frames")

// replied takes one reply.
func (p *pipeline) replied(err error) error {
	if err != nil {
		return err
	}
	if len(p.flights) == 0 {
		return errTooMany
	}
	f := p.flights[0]
	p.flights = p.flights[1:]
	p.wait = 0
	if !f.twin {
		p.acked(f.shipment)
	}
	return nil
}
