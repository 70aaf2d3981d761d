package redisout

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

func TestRepliesWithinBoundsPass(t *testing.T) {
	for _, text := range []string{
		"+OK\r\n", "-ERR no\r\n", ":42\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "$0\r\n\r\n",
		"$5\r\nhel\nl\r\n", "*2\r\n$1\r\na\r\n*1\r\n:1\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n+deep\r\n+next\r\n",
		strings.Repeat("*2\r\n$18\r\nproto-max-bulk-len\r\n$9\r\n536870912\r\n", 100),
	} {
		for step := 1; step <= len(text); step *= 2 {
			var r replies
			for rest := text; rest != ""; {
				n := min(step, len(rest))
				if err := r.check([]byte(rest[:n])); err != nil {
					t.Fatalf("%.40q in steps of %d: %v", text, step, err)
				}
				rest = rest[n:]
			}
			if r.kind != 0 || r.bulk != 0 || len(r.open) != 0 {
				t.Errorf("%.40q leaves %+v", text, r)
			}
		}
	}
}

func TestRepliesThatWouldEndTheProgramAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"Huge":        "$99999999999999999999\r\n",
		"TooLong":     "$1000000\r\n",
		"ManyParts":   "*1000000\r\n",
		"Deep":        strings.Repeat("*1\r\n", 100_000),
		"EndlessLine": "+" + strings.Repeat("x", 100_000),
		"Letters":     "$12a\r\n",
		"HTTP":        "HTTP/1.1 400 Bad Request\r\n",
		"TLS":         "\x15\x03\x01\x00\x02\x02\x46",
		"Version3":    "%1\r\n+a\r\n+b\r\n",
	} {
		var r replies
		if err := r.check([]byte(text)); !errors.Is(err, errReply) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}

// FuzzReplies feeds the library what the guard lets pass: it must neither panic
// nor take more than the bounds.
func FuzzReplies(f *testing.F) {
	for _, text := range []string{"+OK\r\n$3\r\n1-0\r\n", "*2\r\n$1\r\na\r\n:5\r\n", "-ERR x\r\n", "$-1\r\n", "*1\r\n*1\r\n", "$99999999999999999999\r\n", "$-5\r\n", "*-7\r\n", "+\n", "$1-1\r\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		conn := redis.NewConn(&guarded{Conn: &canned{data: bytes.NewReader(data)}}, 0, 0)
		for n := 0; ; n++ {
			_, err := conn.Receive()
			var refused redis.Error
			if err != nil && !errors.As(err, &refused) && !errors.Is(err, redis.ErrNil) {
				return
			}
			if n > len(data) {
				t.Fatalf("%d replies out of %d bytes", n, len(data))
			}
		}
	})
}

// canned is a connection that says what it was given.
type canned struct{ data *bytes.Reader }

func (c *canned) Read(p []byte) (int, error)     { return c.data.Read(p) }
func (*canned) Write(p []byte) (int, error)      { return len(p), nil }
func (*canned) Close() error                     { return nil }
func (*canned) LocalAddr() net.Addr              { return nil }
func (*canned) RemoteAddr() net.Addr             { return nil }
func (*canned) SetDeadline(time.Time) error      { return nil }
func (*canned) SetReadDeadline(time.Time) error  { return nil }
func (*canned) SetWriteDeadline(time.Time) error { return nil }
