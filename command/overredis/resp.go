package overredis

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/command"
)

// The bounds of a reply: of a text, of which no more is kept, and of the values in
// it, with those in arrays.
const (
	maxText   = command.MaxBody + 1
	maxValues = 4096
	maxDepth  = 8
	maxLine   = 4 << 10
)

var errReply = errors.New("what came is no reply of Redis — hint: does something else listen on that port?")

// refusal is an error that the server has answered.
type refusal string

func (r refusal) Error() string { return string(r) }

// appendRequest appends a command as an array of texts.
func appendRequest(dst []byte, args ...string) []byte {
	dst = fmt.Appendf(dst, "*%d\r\n", len(args))
	for _, a := range args {
		dst = fmt.Appendf(dst, "$%d\r\n%s\r\n", len(a), a)
	}
	return dst
}

// reader reads replies (RESP2).
type reader struct {
	in   *bufio.Reader
	left int // values that the reply may still have
}

// reply reads one reply: nil, string, int64, refusal, or []any of those. Of a text
// that is too long the beginning is returned, longer than a command may be.
func (r *reader) reply() (any, error) {
	r.left = maxValues
	return r.value(maxDepth)
}

func (r *reader) value(depth int) (any, error) {
	if r.left--; r.left < 0 || depth == 0 {
		return nil, errReply
	}
	line, err := r.line()
	if err != nil {
		return nil, err
	}
	if line == "" {
		return nil, errReply
	}
	switch text := line[1:]; line[0] {
	case '+':
		return text, nil
	case '-':
		return refusal(text), nil
	case ':':
		return number(text)
	case '$':
		n, err := number(text)
		if err != nil || n < 0 {
			return nil, err
		}
		return r.text(n)
	case '*':
		n, err := number(text)
		if err != nil || n < 0 {
			return nil, err
		}
		var all []any
		for ; n > 0; n-- {
			v, err := r.value(depth - 1)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
		return all, nil
	}
	return nil, errReply
}

func number(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errReply
	}
	return n, nil
}

// line reads up to the end of a line.
func (r *reader) line() (string, error) {
	var b strings.Builder
	for b.Len() <= maxLine {
		c, err := r.in.ReadByte()
		if err != nil {
			return "", err
		}
		if c == '\n' {
			return strings.TrimSuffix(b.String(), "\r"), nil
		}
		b.WriteByte(c)
	}
	return "", errReply
}

// text reads n bytes and the end of a line.
func (r *reader) text(n int64) (any, error) {
	kept, err := io.ReadAll(io.LimitReader(r.in, min(n, maxText)))
	if err != nil {
		return nil, err
	}
	rest := n - int64(len(kept))
	if int64(len(kept)) < min(n, maxText) {
		return nil, io.ErrUnexpectedEOF
	}
	if _, err := io.CopyN(io.Discard, r.in, rest); err != nil {
		return nil, err
	}
	var end [2]byte
	if _, err := io.ReadFull(r.in, end[:]); err != nil {
		return nil, err
	}
	if string(end[:]) != "\r\n" {
		return nil, errReply
	}
	return string(kept), nil
}
