package modbusin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// line is a stream of bytes to one or more slaves: a TCP connection or a serial
// port.
type line interface {
	// ReadTimeout reads what there is, waiting for it no longer than d. It
	// returns (0, nil) when nothing came. Close makes it return.
	ReadTimeout(p []byte, d time.Duration) (int, error)
	// Write returns when the bytes are under way, all of them.
	Write(p []byte) (int, error)
	// Close may be called twice, and while others read.
	Close() error
}

// wire carries questions to slaves and brings what they answer. It belongs to
// one goroutine, except for close.
type wire interface {
	// send puts a question on the bus. A Fault concerns this question only; any
	// other error means that the line is broken.
	send(q question) error
	// receive waits for the next frame. A Fault is what became of the question
	// that was sent last, NoAnswer that the time is over; any other error means
	// that the line is broken. The frame is valid until the next call.
	receive(until time.Time) (frame, error)
	// airtime is how long the bytes of a request and of its answer take.
	airtime(r request) time.Duration
	close() error
}

// question is a request to a slave under an identifier that no other question
// under way has.
type question struct {
	id   uint16
	unit byte
	request
}

// writeTimeout bounds a write of a dozen bytes to a TCP connection: it can only
// wait when nothing was acknowledged for a long time.
const writeTimeout = 5 * time.Second

// connTimeout bounds the making of a TCP connection.
const connTimeout = 5 * time.Second

// tcpLine is a line over a TCP connection.
type tcpLine struct{ net.Conn }

func dialLine(ctx context.Context, address string) (line, error) {
	conn, err := (&net.Dialer{Timeout: connTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return tcpLine{conn}, nil
}

// ReadTimeout implements line.
func (l tcpLine) ReadTimeout(p []byte, d time.Duration) (int, error) {
	if err := l.SetReadDeadline(time.Now().Add(d)); err != nil {
		return 0, err
	}
	n, err := l.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, nil
	}
	return n, ended(err)
}

// ended says what it means that the other side has closed a connection.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("the peer has ended the connection (%w) — hint: many devices allow only one or two; see whether another program holds them", err)
	}
	return err
}

// Write implements line.
func (l tcpLine) Write(p []byte) (int, error) {
	if err := l.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	n, err := l.Conn.Write(p)
	return n, ended(err)
}
