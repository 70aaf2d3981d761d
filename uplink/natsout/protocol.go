package natsout

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

// Bounds of what is read. The longest line of a server is an INFO that names the
// servers of its cluster, the longest message what JetStream says of a stream.
const (
	maxLine   = 64 << 10 // in bytes, with its end
	maxAnswer = 1 << 20  // headers and body of a message, in bytes
	readAhead = 32 << 10 // what is read at a time, in bytes
)

// errNotNATS is what a peer is told off with whose bytes are not the protocol.
var errNotNATS = errors.New("not the protocol of NATS")

// op is what the server says.
type op int

const (
	opInfo op = iota
	opMessage
	opPing
	opPong
	opOK
	opError
)

// event is one thing that the server has said. What it points to is valid until
// the next one is read.
type event struct {
	op   op
	text []byte // the JSON of an INFO, what an -ERR says
	// Of a message. Its status is the one in the first line of its headers: 503 if
	// nobody listens to what was asked.
	subject, body []byte
	sid, status   string
}

// ear reads what a server says.
//
// Source: https://docs.nats.io/reference/protocols/client
type ear struct {
	in    *bufio.Reader
	long  bytes.Buffer // what does not fit into in
	from  io.Reader
	begun time.Time
	heard atomic.Int64 // how long after begun something came last, in ns
}

func newEar(from io.Reader) *ear {
	e := &ear{from: from, begun: time.Now()}
	e.in = bufio.NewReaderSize(e, readAhead)
	return e
}

// Read is what in reads from.
func (e *ear) Read(p []byte) (int, error) {
	n, err := e.from.Read(p)
	if n > 0 {
		e.heard.Store(int64(time.Since(e.begun)))
	}
	return n, err
}

// silence is how long nothing has come.
func (e *ear) silence() time.Duration {
	return time.Since(e.begun) - time.Duration(e.heard.Load())
}

// next reads the next event. What it allocates is bounded by what it has read, and
// by maxLine and maxAnswer.
func (e *ear) next() (event, error) {
	line, err := e.line()
	if err != nil {
		return event{}, err
	}
	word, rest := cutBlank(line)
	switch strings.ToUpper(string(word[:min(len(word), 5)])) {
	case "MSG":
		return e.message(rest, false)
	case "HMSG":
		return e.message(rest, true)
	case "PING":
		return event{op: opPing}, nil
	case "PONG":
		return event{op: opPong}, nil
	case "+OK":
		return event{op: opOK}, nil
	case "-ERR":
		return event{op: opError, text: bytes.Trim(rest, " \t'")}, nil
	case "INFO":
		return event{op: opInfo, text: rest}, nil
	}
	return event{}, fmt.Errorf("%w: a line begins with %s", errNotNATS, onelink.Quote(string(word)))
}

// line reads up to the next line end and returns what is before it.
func (e *ear) line() ([]byte, error) {
	line, err := e.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		e.long.Reset()
		for errors.Is(err, bufio.ErrBufferFull) && e.long.Len() < maxLine {
			e.long.Write(line)
			line, err = e.in.ReadSlice('\n')
		}
		e.long.Write(line)
		line = e.long.Bytes()
	}
	switch {
	case len(line) > maxLine || errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("%w: a line of more than %d bytes", errNotNATS, maxLine)
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'}), nil
}

// message reads a message, of which line has subject, subscription, perhaps a reply
// subject, the size of the headers if it has some, and the size of everything.
func (e *ear) message(line []byte, headers bool) (event, error) {
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
		return event{}, fmt.Errorf("%w: a message with the line %s", errNotNATS, onelink.Quote(string(line)))
	}
	total, err := sizeOf(words[n-1])
	head := 0
	if headers && err == nil {
		head, err = sizeOf(words[n-2])
	}
	if err != nil || head > total {
		return event{}, fmt.Errorf("%w: the sizes of a message in the line %s", errNotNATS, onelink.Quote(string(line)))
	}
	// The line makes room for what follows.
	v := event{op: opMessage, subject: bytes.Clone(words[0]), sid: string(words[1])}
	all, err := e.take(total)
	if err != nil {
		return event{}, err
	}
	v.body = all[head:]
	if headers {
		v.status, err = statusOf(all[:head])
	}
	return v, err
}

// take reads n bytes and the line end after them.
func (e *ear) take(n int) ([]byte, error) {
	if n+2 <= readAhead {
		all, err := e.in.Peek(n + 2)
		if err != nil {
			return nil, noEOF(err)
		}
		e.in.Discard(n + 2) // they are there
		return ended(all)
	}
	e.long.Reset() // and grows with what comes, not with what is announced
	if _, err := io.CopyN(&e.long, e.in, int64(n+2)); err != nil {
		return nil, noEOF(err)
	}
	return ended(e.long.Bytes())
}

func ended(all []byte) ([]byte, error) {
	body, ok := bytes.CutSuffix(all, []byte("\r\n"))
	if !ok {
		return nil, fmt.Errorf("%w: no line end after a message of %d bytes", errNotNATS, len(all)-2)
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

func sizeOf(word []byte) (int, error) {
	n, err := strconv.ParseUint(string(word), 10, 31)
	if err == nil && n > maxAnswer {
		err = errors.New("too large")
	}
	return int(n), err
}

// statusOf returns the status in the first line of headers, "" if it has none:
//
//	NATS/1.0 503 No Responders
//
// Nothing in the other lines matters to us.
func statusOf(headers []byte) (string, error) {
	rest, ok := bytes.CutPrefix(headers, []byte("NATS/1.0"))
	first, _, found := bytes.Cut(rest, []byte("\r\n"))
	if !ok || !found || !bytes.HasSuffix(headers, []byte("\r\n\r\n")) || len(first) > 0 && first[0] != ' ' && first[0] != '\t' {
		return "", fmt.Errorf("%w: the headers of a message begin with %s", errNotNATS, onelink.Quote(string(headers)))
	}
	status, _ := cutBlank(first)
	return string(status), nil
}

// greeting is what a server says of itself in INFO, as far as it matters here.
type greeting struct {
	Version      string `json:"version"`
	Protocol     int    `json:"proto"`
	Headers      bool   `json:"headers"`
	MaxPayload   int64  `json:"max_payload"` // headers and body, in bytes; 0: not told
	TLSRequired  bool   `json:"tls_required"`
	TLSAvailable bool   `json:"tls_available"`
	Nonce        string `json:"nonce"`
	LameDuck     bool   `json:"ldm"` // it will close all its connections soon
}

func parseInfo(text []byte) (g greeting, err error) {
	if err := json.Unmarshal(text, &g); err != nil {
		return greeting{}, fmt.Errorf("%w: INFO %s", errNotNATS, onelink.Quote(string(text)))
	}
	g.MaxPayload = max(g.MaxPayload, 0)
	return g, nil
}

// update takes what a later INFO says of limits and of closing down, if it says so.
func (g *greeting) update(text []byte) {
	now, err := parseInfo(text)
	if err != nil {
		return // the protocol goes on behind it
	}
	if now.MaxPayload > 0 {
		g.MaxPayload = now.MaxPayload
	}
	g.LameDuck = now.LameDuck
}

// login is what CONNECT says of us.
type login struct {
	Verbose      bool   `json:"verbose"`
	Pedantic     bool   `json:"pedantic"`
	JWT          string `json:"jwt,omitempty"`
	Nkey         string `json:"nkey,omitempty"`
	Signature    string `json:"sig,omitempty"` // of the nonce
	User         string `json:"user,omitempty"`
	Password     string `json:"pass,omitempty"`
	Token        string `json:"auth_token,omitempty"`
	TLS          bool   `json:"tls_required"`
	Name         string `json:"name"`
	Language     string `json:"lang"`
	Version      string `json:"version"`
	Protocol     int    `json:"protocol"` // 1: INFO may come again
	Echo         bool   `json:"echo"`
	Headers      bool   `json:"headers"`
	NoResponders bool   `json:"no_responders"` // say 503 at once
}

// subscription is the number of the only one, to the answers.
const subscription = "1"

// appendLogin appends what is said to a server first. The subscription rides along:
// that it is not allowed is heard before the PONG.
func appendLogin(dst []byte, who login, inbox string) ([]byte, error) {
	text, err := json.Marshal(who)
	if err != nil {
		return nil, err
	}
	dst = append(append(dst, "CONNECT "...), text...)
	dst = append(append(dst, "\r\nSUB "...), inbox...)
	return append(dst, "* "+subscription+"\r\nPING\r\n"...), nil
}

// appendHeader appends a line of headers. A value cannot end its line.
func appendHeader(dst []byte, name, value string) []byte {
	dst = append(append(dst, name...), ": "...)
	for i := range len(value) {
		c := value[i]
		if c == '\r' || c == '\n' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return append(dst, "\r\n"...)
}

// appendPublish appends everything of a publish that is in front of its body of
// size bytes. headers end with an empty line.
func appendPublish(dst []byte, subject, inbox string, number uint64, headers []byte, size int) []byte {
	dst = append(append(dst, "HPUB "...), subject...)
	dst = append(append(dst, ' '), inbox...)
	dst = append(strconv.AppendUint(dst, number, 36), ' ')
	dst = append(strconv.AppendInt(dst, int64(len(headers)), 10), ' ')
	dst = strconv.AppendInt(dst, int64(len(headers)+size), 10)
	return append(append(dst, "\r\n"...), headers...)
}

// appendRequest appends a publish without headers.
func appendRequest(dst []byte, subject, inbox string, number uint64, body []byte) []byte {
	dst = append(append(dst, "PUB "...), subject...)
	dst = append(append(dst, ' '), inbox...)
	dst = append(strconv.AppendUint(dst, number, 36), ' ')
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(append(dst, "\r\n"...), body...)
	return append(dst, "\r\n"...)
}
