package firmwaresim

import (
	"context"
	"net"
	"sync"
	"time"
)

const (
	// rtuSilence ends a request whose length nobody knows, and what was none.
	rtuSilence = 30 * time.Millisecond
	// maxLateAnswers is how many answers may be late at once; more are not given.
	maxLateAnswers = 64
)

// accept serves masters that connect until the listener is closed.
func (s *ModbusSlaves) accept(ctx context.Context) error {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		open.Go(func() {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			if s.cfg.RTUOverTCP {
				s.serveRTU(ctx, connReader(conn), func(b []byte) error { _, err := conn.Write(b); return err })
			} else {
				s.serveTCP(ctx, conn)
			}
		})
	}
}

// serveTCP answers requests of one connection, in their order, but for late ones.
func (s *ModbusSlaves) serveTCP(ctx context.Context, conn net.Conn) {
	w := newLateWriter(func(b []byte) error { _, err := conn.Write(b); return err })
	ctx, cancel := context.WithCancel(ctx)
	defer w.wait()
	defer cancel()
	for {
		q, err := readTCP(conn)
		if err != nil {
			return
		}
		r, ok := s.answer(q.unit, q.pdu)
		if !ok {
			continue
		}
		transaction := q.transaction
		if r.corrupt {
			transaction ^= 1 << (r.flip % 16)
		}
		if w.send(ctx, appendTCP(nil, transaction, r.unit, r.pdu), r) != nil {
			return
		}
	}
}

// serveLine serves the pseudo terminal.
func (s *ModbusSlaves) serveLine(ctx context.Context) error {
	line := baudWriter{to: s.port, baud: s.cfg.Baud, wire: new(wireCounts)}
	s.serveRTU(ctx, func(take func([]byte) error) error { return readPty(ctx, s.port, take) },
		func(b []byte) error {
			return line.write(b, func(until time.Time) error { return sleepUntil(ctx, until) })
		})
	return nil
}

func connReader(conn net.Conn) func(func([]byte) error) error {
	return func(take func([]byte) error) error {
		b := make([]byte, maxADU)
		for {
			n, err := conn.Read(b)
			if n > 0 {
				if err := take(b[:n]); err != nil {
					return err
				}
			}
			if err != nil {
				return err
			}
		}
	}
}

// serveRTU answers the requests that read hands over in pieces, until read ends.
func (s *ModbusSlaves) serveRTU(ctx context.Context, read func(func([]byte) error) error, write func([]byte) error) {
	ctx, cancel := context.WithCancel(ctx)
	w := newLateWriter(write)
	pieces := make(chan []byte)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(pieces)
		read(func(b []byte) error {
			select {
			case pieces <- append([]byte(nil), b...):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	s.answerRTU(ctx, pieces, w)
	cancel()
	w.wait()
	reader.Wait()
}

func (s *ModbusSlaves) answerRTU(ctx context.Context, pieces <-chan []byte, w *lateWriter) {
	var came []byte
	silence := time.NewTimer(rtuSilence)
	defer silence.Stop()
	for {
		select {
		case b, more := <-pieces:
			if !more {
				return
			}
			came = append(came, b...)
			silence.Reset(rtuSilence)
		case <-silence.C:
			if validRTU(came) && s.onLine(ctx, came, w) != nil {
				return
			}
			came = came[:0]
			continue
		case <-ctx.Done():
			return
		}
		for {
			request, rest := cutRTU(came)
			if request == nil {
				break
			}
			if s.onLine(ctx, request, w) != nil {
				return
			}
			came = rest
		}
		if over := len(came) - maxADU; over > 0 {
			came = came[over:]
		}
	}
}

// onLine answers one frame of RTU.
func (s *ModbusSlaves) onLine(ctx context.Context, frame []byte, w *lateWriter) error {
	if s.cfg.Faults.Echo {
		if err := w.send(ctx, append([]byte(nil), frame...), reply{}); err != nil {
			return err
		}
	}
	r, ok := s.answer(frame[0], frame[1:len(frame)-2])
	if !ok {
		return nil
	}
	adu := appendRTU(append([]byte(nil), r.noise...), r.unit, r.pdu)
	if r.corrupt {
		bit := r.flip % (8 * (len(adu) - len(r.noise)))
		adu[len(r.noise)+bit/8] ^= 1 << (bit % 8)
	}
	return w.send(ctx, adu, r)
}

// lateWriter writes answers, some of them later.
type lateWriter struct {
	write func([]byte) error
	mu    sync.Mutex // one answer at a time is on the line
	late  sync.WaitGroup
	room  chan struct{}
}

func newLateWriter(write func([]byte) error) *lateWriter {
	return &lateWriter{write: write, room: make(chan struct{}, maxLateAnswers)}
}

func (w *lateWriter) send(ctx context.Context, b []byte, r reply) error {
	until := time.Now().Add(r.wait)
	if !r.late {
		if err := sleepUntil(ctx, until); err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.write(b)
	}
	select {
	case w.room <- struct{}{}:
	default:
		return nil
	}
	w.late.Go(func() {
		defer func() { <-w.room }()
		if sleepUntil(ctx, until) == nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.write(b) // whoever writes next sees its error, too
		}
	})
	return nil
}

// wait waits until nothing is late any more; the context of what is must have
// ended.
func (w *lateWriter) wait() { w.late.Wait() }
