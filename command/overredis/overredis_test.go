package overredis

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/command/commandtest"
	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// boss is a client of somebody else's.
type boss struct {
	address string
	conn    redis.Conn
	last    string
}

func (b *boss) do(t *testing.T, name string, args ...any) any {
	t.Helper()
	var reply any
	commandtest.Eventually(t, name, func() (ok bool) {
		var err error
		if b.conn == nil || b.conn.Err() != nil {
			if b.conn, err = redis.Dial("tcp", b.address, redis.DialPassword("s3cret"), redis.DialUsername("gw"), redis.DialReadTimeout(commandtest.Patience)); err != nil {
				return false
			}
		}
		reply, err = b.conn.Do(name, args...)
		return err == nil
	})
	return reply
}

func (b *boss) put(t *testing.T, doc string) {
	t.Helper()
	b.do(t, "XADD", "commands", "*", "note", "x", "command", doc)
}

func (b *boss) next(t *testing.T) (a command.Answer) {
	t.Helper()
	commandtest.Eventually(t, "an answer", func() bool {
		reply, _ := b.do(t, "XREAD", "COUNT", 1, "BLOCK", 200, "STREAMS", "answers", b.last).([]any)
		if len(reply) == 0 {
			return false
		}
		one := reply[0].([]any)[1].([]any)[0].([]any)
		b.last = string(one[0].([]byte))
		if err := json.Unmarshal(one[1].([]any)[1].([]byte), &a); err != nil {
			t.Fatal(err)
		}
		return true
	})
	return a
}

func TestOverRedis(t *testing.T) {
	commandtest.Run(t, func(t *testing.T) commandtest.Peer {
		s := servertest.Redis(t, servertest.User("gw", "s3cret"))
		cfg := Config{Address: s.Addr("redis"), Username: "gw", Password: uplinktest.Secret(t, "s3cret"), Stream: "commands", Group: "tidegate", Consumer: "north-7", Answers: "answers", Block: 2 * time.Second}
		bad := cfg
		bad.Password = uplinktest.Secret(t, "wrong")
		b := &boss{address: s.Addr("redis"), last: "0"}
		t.Cleanup(func() {
			if b.conn != nil {
				b.conn.Close()
			}
		})
		log := slog.New(slog.DiscardHandler)
		return commandtest.Peer{
			Courier: New(cfg, log), Wrong: New(bad, log), Put: b.put, Answer: b.next,
			Kill: func(t *testing.T) { s.Kill() }, Restart: func(t *testing.T) { s.Start() },
		}
	})
}

func TestReplies(t *testing.T) {
	for text, want := range map[string]any{
		"+OK\r\n": "OK", "-ERR no\r\n": refusal("ERR no"), ":-7\r\n": int64(-7), "$-1\r\n": nil, "*-1\r\n": nil, "$0\r\n\r\n": "", "$4\r\na\r\nb\r\n": "a\r\nb",
		"*2\r\n$1\r\na\r\n*1\r\n:1\r\n": []any{"a", []any{int64(1)}},
	} {
		r := reader{in: bufio.NewReader(strings.NewReader(text))}
		if got, err := r.reply(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\r\n", "?x\r\n", ":x\r\n", "$5\r\nab\r\n", "$1\r\nabc", "*1\r\n", strings.Repeat("*1\r\n", maxDepth+1), "*5000\r\n" + strings.Repeat(":1\r\n", 5000), "+" + strings.Repeat("x", maxLine+2), "$9999999999999999999\r\n"} {
		r := reader{in: bufio.NewReader(strings.NewReader(text))}
		if got, err := r.reply(); err == nil {
			t.Errorf("%.20q: %v", text, got)
		}
	}
	r := reader{in: bufio.NewReader(io.MultiReader(strings.NewReader("$2000000\r\n"), bytes.NewReader(bytes.Repeat([]byte("x"), 2_000_000)), strings.NewReader("\r\n+OK\r\n")))}
	if got, err := r.reply(); err != nil || len(got.(string)) != maxText {
		t.Errorf("%v", err)
	}
	if got, err := r.reply(); err != nil || got != "OK" {
		t.Errorf("behind it comes %v, %v", got, err)
	}
}

// FuzzReply: any bytes are replies, or an error, and take little memory.
func FuzzReply(f *testing.F) {
	f.Add([]byte("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$7\r\ncommand\r\n$2\r\n{}\r\n"))
	f.Add([]byte("-ERR x\r\n:1\r\n$-1\r\n*-1\r\n$99999999\r\nx"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := reader{in: bufio.NewReader(bytes.NewReader(b))}
		for {
			reply, err := r.reply()
			if err != nil {
				break
			}
			all, err := entriesOf(reply)
			if err != nil && !errors.Is(err, errReply) {
				t.Fatal(err)
			}
			for _, e := range all {
				if len(e.body) > len(b) {
					t.Fatalf("%d bytes of %d", len(e.body), len(b))
				}
			}
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20+64*uint64(len(b)) {
			t.Fatalf("%d bytes allocated for %d", n, len(b))
		}
	})
}
