package stompout

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/uplink/onelink"
)

// Commands of the frames that go to and come from a server.
const (
	connectCommand    = "CONNECT"
	connectedCommand  = "CONNECTED"
	sendCommand       = "SEND"
	receiptCommand    = "RECEIPT"
	errorCommand      = "ERROR"
	disconnectCommand = "DISCONNECT"
)

// Bounds of what is read. A server sends us receipts and errors only: the
// longest of them are errors with the trace of a Java stack.
const (
	maxHead = 32 << 10  // command and headers, in bytes
	maxBody = 256 << 10 // in bytes
)

// errNotSTOMP is what a peer is told off with whose bytes make no frame.
var errNotSTOMP = errors.New("not a STOMP frame")

// header is one line of a frame's head, not escaped.
type header struct{ name, value string }

// frame is one frame of STOMP 1.2.
//
// Source: https://stomp.github.io/stomp-specification-1.2.html
type frame struct {
	command string
	headers []header
	body    []byte
}

// get returns the value of the header, of the first one when it is repeated, as
// the specification has it; "" if there is none.
func (f *frame) get(name string) string {
	for _, h := range f.headers {
		if h.name == name {
			return h.value
		}
	}
	return ""
}

// append appends the frame, which has no body.
func (f *frame) append(dst []byte) []byte {
	dst = append(append(dst, f.command...), '\n')
	raw := f.command == connectCommand
	for _, h := range f.headers {
		dst = appendHeader(dst, h.name, h.value, raw)
	}
	return append(dst, '\n', 0)
}

// appendHeader appends one line. CONNECT frames are not escaped, so that
// servers of STOMP 1.0 can read them; what could end a line there must have
// been refused before.
func appendHeader(dst []byte, name, value string, raw bool) []byte {
	if raw {
		dst = append(append(append(dst, name...), ':'), value...)
		return append(dst, '\n')
	}
	dst = append(appendEscaped(dst, name), ':')
	return append(appendEscaped(dst, value), '\n')
}

// appendEscaped appends s with the four escapes of STOMP 1.2. A zero byte has
// none, and is dropped: it would end the frame.
func appendEscaped(dst []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; c {
		case '\\':
			dst = append(dst, `\\`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case ':':
			dst = append(dst, `\c`...)
		case 0:
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// unescape undoes appendEscaped. Any other escape is an error, as the
// specification demands.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", fmt.Errorf("%w: a header ends within an escape", errNotSTOMP)
		}
		switch s[i] {
		case '\\':
			b.WriteByte('\\')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'c':
			b.WriteByte(':')
		default:
			return "", fmt.Errorf("%w: unknown escape %q in a header", errNotSTOMP, s[i-1:i+1])
		}
	}
	return b.String(), nil
}

// readFrame reads the next frame, past the line ends that are heart-beats. What
// it allocates is bounded by what it has read, and by maxHead and maxBody.
func readFrame(r *bufio.Reader) (*frame, error) {
	budget := maxHead
	var line []byte
	var err error
	for len(line) == 0 { // heart-beats, and what may follow a frame
		if line, err = readLine(r, maxHead); err != nil {
			return nil, err
		}
	}
	f := &frame{command: string(line)}
	if !isCommand(f.command) {
		return nil, fmt.Errorf("%w: it begins with %s", errNotSTOMP, onelink.Quote(f.command))
	}
	for {
		if line, err = readLine(r, budget); err != nil {
			return nil, noEOF(err)
		}
		if len(line) == 0 {
			break
		}
		budget -= len(line)
		h, err := parseHeader(string(line), f.command == connectedCommand)
		if err != nil {
			return nil, err
		}
		f.headers = append(f.headers, h)
	}
	if f.body, err = readBody(r, f.get("content-length")); err != nil {
		return nil, noEOF(err)
	}
	return f, nil
}

func isCommand(s string) bool {
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return len(s) > 0
}

func parseHeader(line string, raw bool) (header, error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" {
		return header{}, fmt.Errorf("%w: header %s", errNotSTOMP, onelink.Quote(line))
	}
	if raw {
		return header{name, value}, nil
	}
	var err, err2 error
	name, err = unescape(name)
	value, err2 = unescape(value)
	return header{name, value}, errors.Join(err, err2)
}

// readLine reads up to the next line end and returns what is before it.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return nil, fmt.Errorf("%w: a head of more than %d bytes", errNotSTOMP, maxHead)
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'}), nil
}

// readBody reads the body and the zero byte after it.
func readBody(r *bufio.Reader, length string) ([]byte, error) {
	if length == "" {
		return readToZero(r)
	}
	n, err := strconv.ParseUint(length, 10, 31)
	if err != nil || n > maxBody {
		return nil, fmt.Errorf("%w: a body of %s bytes", errNotSTOMP, onelink.Quote(length))
	}
	var body bytes.Buffer // grows with what comes, not with what is announced
	if _, err := io.CopyN(&body, r, int64(n)); err != nil {
		return nil, err
	}
	if end, err := r.ReadByte(); err != nil {
		return nil, err
	} else if end != 0 {
		return nil, fmt.Errorf("%w: no zero byte after a body of %d bytes", errNotSTOMP, n)
	}
	return body.Bytes(), nil
}

func readToZero(r *bufio.Reader) ([]byte, error) {
	var body []byte
	for {
		part, err := r.ReadSlice(0)
		if len(body)+len(part) > maxBody+1 {
			return nil, fmt.Errorf("%w: a body of more than %d bytes", errNotSTOMP, maxBody)
		}
		body = append(body, part...)
		if err == nil {
			return body[:len(body)-1], nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// noEOF says of an end within a frame that it was not expected.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
