package natsline

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/uplink/onelink"
)

// Bounds of what is read, in bytes. The longest line of a server is an INFO that
// names the servers of its cluster.
const (
	MaxLine    = 64 << 10 // with its end
	maxHeaders = 64 << 10
	readAhead  = 32 << 10 // what is read at a time
)

// ErrNotNATS is what a peer is told off with whose bytes are not the protocol.
var ErrNotNATS = errors.New("not the protocol of NATS")

// Op is what the server says.
type Op int

// What a server says.
const (
	OpInfo Op = iota
	OpMessage
	OpPing
	OpPong
	OpOK
	OpError
)

// Event is one thing that the server has said. What it points to is valid until
// the next one is read.
type Event struct {
	Op   Op
	Text []byte // the JSON of an INFO, what an -ERR says

	// Of a message, with the subscription that it is for, and the subject for a
	// reply if one is wanted.
	Subject, Body []byte
	SID, Reply    string
	// Status and Reason are in the first line of its headers, if there are any: 503
	// if nobody listens to what was asked.
	Status, Reason string
}

// Bounds are those of messages, in bytes.
type Bounds struct {
	Most int // headers and body; a larger one is ErrNotNATS
	Keep int // of a body; the rest of it is passed over. 0 for all
}

// Ear reads what a server says.
//
// Source: https://docs.nats.io/reference/protocols/client
type Ear struct {
	in     *bufio.Reader
	long   bytes.Buffer // what does not fit into in
	bounds Bounds
	from   io.Reader
	begun  time.Time
	heard  atomic.Int64 // how long after begun something came last, in ns
}

// NewEar returns an Ear for what comes from a server.
func NewEar(from io.Reader, bounds Bounds) *Ear {
	e := &Ear{from: from, bounds: bounds, begun: time.Now()}
	e.in = bufio.NewReaderSize(e, readAhead)
	return e
}

// Read implements io.Reader: it is what the Ear itself reads from.
func (e *Ear) Read(p []byte) (int, error) {
	n, err := e.from.Read(p)
	if n > 0 {
		e.heard.Store(int64(time.Since(e.begun)))
	}
	return n, err
}

// Silence is how long nothing has come.
func (e *Ear) Silence() time.Duration {
	return time.Since(e.begun) - time.Duration(e.heard.Load())
}

// Next reads the next event. What it allocates is bounded by what it has read, and
// by the bounds. An error that wraps [ErrNotNATS] means that the peer is wrong.
func (e *Ear) Next() (Event, error) {
	line, err := e.line()
	if err != nil {
		return Event{}, err
	}
	word, rest := cutBlank(line)
	switch strings.ToUpper(string(word[:min(len(word), 5)])) {
	case "MSG":
		return e.message(rest, false)
	case "HMSG":
		return e.message(rest, true)
	case "PING":
		return Event{Op: OpPing}, nil
	case "PONG":
		return Event{Op: OpPong}, nil
	case "+OK":
		return Event{Op: OpOK}, nil
	case "-ERR":
		return Event{Op: OpError, Text: bytes.Trim(rest, " \t'")}, nil
	case "INFO":
		return Event{Op: OpInfo, Text: rest}, nil
	}
	return Event{}, fmt.Errorf("%w: a line begins with %s", ErrNotNATS, onelink.Quote(string(word)))
}

// line reads up to the next line end and returns what is before it.
func (e *Ear) line() ([]byte, error) {
	line, err := e.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		e.long.Reset()
		for errors.Is(err, bufio.ErrBufferFull) && e.long.Len() < MaxLine {
			e.long.Write(line)
			line, err = e.in.ReadSlice('\n')
		}
		e.long.Write(line)
		line = e.long.Bytes()
	}
	switch {
	case len(line) > MaxLine || errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("%w: a line of more than %d bytes", ErrNotNATS, MaxLine)
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'}), nil
}

// message reads a message, of which line has subject, subscription, perhaps a reply
// subject, the size of the headers if it has some, and the size of everything.
func (e *Ear) message(line []byte, headers bool) (Event, error) {
	sizes := 1
	if headers {
		sizes = 2
	}
	var words [6][]byte
	n := 0
	for word, rest := cutBlank(line); len(word) > 0 && n < len(words); word, rest = cutBlank(rest) {
		words[n] = word
		n++
	}
	if n != 2+sizes && n != 3+sizes {
		return Event{}, fmt.Errorf("%w: a message with the line %s", ErrNotNATS, onelink.Quote(string(line)))
	}
	total, err := e.sizeOf(words[n-1])
	head := 0
	if headers && err == nil {
		head, err = e.sizeOf(words[n-2])
	}
	if err != nil || head > total || head > maxHeaders {
		return Event{}, fmt.Errorf("%w: the sizes of a message in the line %s", ErrNotNATS, onelink.Quote(string(line)))
	}
	// The line makes room for what follows.
	v := Event{Op: OpMessage, Subject: bytes.Clone(words[0]), SID: string(words[1])}
	if n == 3+sizes {
		v.Reply = string(words[2])
	}
	all, err := e.take(total, head)
	if err != nil {
		return Event{}, err
	}
	v.Body = all[head:]
	if headers {
		v.Status, v.Reason, err = statusOf(all[:head])
	}
	return v, err
}

// take reads n bytes, of which head are headers, and the line end after them, and
// returns what is to be kept.
func (e *Ear) take(n, head int) ([]byte, error) {
	if keep := head + e.bounds.Keep; e.bounds.Keep > 0 && n > keep {
		kept, err := e.copy(keep)
		if err == nil {
			_, err = io.CopyN(io.Discard, e.in, int64(n-keep))
		}
		if err == nil {
			var end [2]byte
			if _, err = io.ReadFull(e.in, end[:]); err == nil && string(end[:]) != "\r\n" {
				err = unended(n)
			}
		}
		return kept, noEOF(err)
	}
	if n+2 <= readAhead {
		all, err := e.in.Peek(n + 2)
		if err != nil {
			return nil, noEOF(err)
		}
		e.in.Discard(n + 2) // they are there
		return ended(all)
	}
	all, err := e.copy(n + 2)
	if err != nil {
		return nil, err
	}
	return ended(all)
}

// copy reads n bytes into a place that grows with what comes, not with what is
// announced.
func (e *Ear) copy(n int) ([]byte, error) {
	e.long.Reset()
	_, err := io.CopyN(&e.long, e.in, int64(n))
	return e.long.Bytes(), noEOF(err)
}

func unended(n int) error {
	return fmt.Errorf("%w: no line end after a message of %d bytes", ErrNotNATS, n)
}

func ended(all []byte) ([]byte, error) {
	body, ok := bytes.CutSuffix(all, []byte("\r\n"))
	if !ok {
		return nil, unended(len(all) - 2)
	}
	return body, nil
}

// noEOF says of an end within a message that it was not expected.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// cutBlank cuts the first word off, past any blanks.
func cutBlank(line []byte) (word, rest []byte) {
	line = bytes.TrimLeft(line, " \t")
	if i := bytes.IndexAny(line, " \t"); i >= 0 {
		return line[:i], bytes.TrimLeft(line[i:], " \t")
	}
	return line, nil
}

func (e *Ear) sizeOf(word []byte) (int, error) {
	n, err := strconv.ParseUint(string(word), 10, 31)
	if err == nil && n > uint64(e.bounds.Most) {
		err = errors.New("too large")
	}
	return int(n), err
}

// statusOf returns the status in the first line of headers and what stands behind it,
// "" if it has none:
//
//	NATS/1.0 503 No Responders
//
// Nothing in the other lines matters to us.
func statusOf(headers []byte) (status, reason string, err error) {
	rest, ok := bytes.CutPrefix(headers, []byte("NATS/1.0"))
	first, _, found := bytes.Cut(rest, []byte("\r\n"))
	if !ok || !found || !bytes.HasSuffix(headers, []byte("\r\n\r\n")) || len(first) > 0 && first[0] != ' ' && first[0] != '\t' {
		return "", "", fmt.Errorf("%w: the headers of a message begin with %s", ErrNotNATS, onelink.Quote(string(headers)))
	}
	word, behind := cutBlank(first)
	return string(word), string(bytes.TrimRight(behind, " \t")), nil
}

// Info is what a server says of itself, as far as it matters here.
type Info struct {
	Version      string `json:"version"`
	Protocol     int    `json:"proto"`
	Headers      bool   `json:"headers"`
	MaxPayload   int64  `json:"max_payload"` // headers and body, in bytes; 0: not told
	TLSRequired  bool   `json:"tls_required"`
	TLSAvailable bool   `json:"tls_available"`
	Nonce        string `json:"nonce"`
	LameDuck     bool   `json:"ldm"` // it will close all its connections soon
}

// ParseInfo reads the JSON of an INFO.
func ParseInfo(text []byte) (i Info, err error) {
	if err := json.Unmarshal(text, &i); err != nil {
		return Info{}, fmt.Errorf("%w: INFO %s", ErrNotNATS, onelink.Quote(string(text)))
	}
	i.MaxPayload = max(i.MaxPayload, 0)
	return i, nil
}

// Update takes what a later INFO says of limits and of closing down, if it says so.
func (i *Info) Update(text []byte) {
	now, err := ParseInfo(text)
	if err != nil {
		return // the protocol goes on behind it
	}
	if now.MaxPayload > 0 {
		i.MaxPayload = now.MaxPayload
	}
	i.LameDuck = now.LameDuck
}
