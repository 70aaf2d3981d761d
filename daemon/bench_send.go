package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/serialin"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/serialport"
)

// Bounds of what is sent, and of the wait for an answer.
const (
	maxSend       = 1024
	defaultAnswer = time.Second
	maxAnswer     = 10 * time.Second
)

// Send implements api.SerialWork. Where somebody listens, what is sent goes out there;
// a door sends if it is allowed to; any other port is opened for it.
func (w *workbench) Send(ctx context.Context, ask api.SerialSend) (api.SerialSent, error) {
	var b conf.Bytes
	err := b.UnmarshalText([]byte(ask.Bytes))
	wait := cmp.Or(time.Duration(ask.Listen)*time.Millisecond, defaultAnswer)
	switch {
	case err != nil:
		return api.SerialSent{}, api.Invalid(fmt.Errorf("bytes: %w", err))
	case len(b) == 0 || len(b) > maxSend:
		return api.SerialSent{}, api.Invalid(fmt.Errorf("%d bytes to send — hint: 1 to %d", len(b), maxSend))
	case wait < 0 || wait > maxAnswer:
		return api.SerialSent{}, api.Invalid(fmt.Errorf("waiting for %v — hint: %v at the most", wait, maxAnswer))
	}
	at, err := w.find(ask.SerialPlace, ask.SerialSettings)
	if err != nil {
		return api.SerialSent{}, err
	}
	if write := w.writer(at.info.Device); write != nil {
		n, err := write(b)
		return api.SerialSent{Sent: n, Watched: true}, err
	}
	if line := w.here.line(at.info.Door); line != nil && !ask.Pause {
		n, err := line.Send(b)
		return api.SerialSent{Sent: n, Watched: true}, err
	}
	ctx, _, done, err := w.alone(ctx, at, "sending", ask.SerialPlace)
	if err != nil {
		return api.SerialSent{}, err
	}
	defer done()
	return exchange(ctx, at.config, b, wait)
}

// writer returns how to write to a device that somebody listens to.
func (w *workbench) writer(device string) func([]byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.tasks[device]; t != nil {
		return t.write
	}
	return nil
}

// exchange opens a port, sends, and returns what comes within a time.
func exchange(ctx context.Context, c serialport.Config, b []byte, wait time.Duration) (out api.SerialSent, err error) {
	port, err := serialport.Open(c)
	if err != nil {
		return out, err
	}
	closing := sync.OnceFunc(func() { port.Close() })
	defer closing()
	ctx, stop := context.WithTimeout(ctx, wait+c.CharTime()*time.Duration(len(b)))
	defer stop()
	defer context.AfterFunc(ctx, closing)()
	if out.Sent, err = port.Write(b); err != nil {
		return out, err
	}
	err = readPieces(port, 0, func(p serialin.Piece) {
		out.Answer = append(out.Answer, p.Bytes[:min(len(p.Bytes), serialin.MaxSample-len(out.Answer))]...)
	}, nil)
	if isEnd(err) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = nil
	}
	return out, err
}
