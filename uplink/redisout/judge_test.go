package redisout

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// patience bounds everything that must happen soon.
const patience = time.Minute

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

var key = uplink.Key{Gateway: "north-7", Epoch: 0x4d2, Lane: reading.Normal, First: 1, Last: 99}

func message(body string) uplink.Message {
	return uplink.Message{Key: key, Count: 99, ContentType: "application/json", Body: []byte(body)}
}

func checkClass(t *testing.T, err error, want class) {
	t.Helper()
	if err == nil {
		t.Error("nil, want an error")
		return
	}
	got := transient
	delay, asked := uplink.RetryDelay(err)
	switch {
	case uplink.IsTooLarge(err):
		got = tooLarge
	case uplink.IsPermanent(err):
		got = -1
	case asked && delay == uplink.ConfigDelay:
		got = config
	case asked:
		got = full
	}
	if got != want {
		t.Errorf("class %d, want %d: %v", got, want, err)
	}
}

// said is what a server may say, and what it means.
type said struct {
	class class
	keep  bool
	hint  string
}

// sayings are what servers of different age and kind say. Those that a real one
// can be made to say are said by it in real_test.go, too.
func sayings() map[string]said {
	return map[string]said{
		"OOM command not allowed when used memory > 'maxmemory'.":                                {full, true, "maxmemory"},
		"MISCONF Errors writing to the AOF file: No space left on device":                        {transient, true, "disk"},
		"NOAUTH Authentication required.":                                                        {config, false, "password_file"},
		"WRONGPASS invalid username-password pair or user is disabled.":                          {config, false, "password file"},
		"ERR invalid password":                                                                   {config, false, "password file"},
		"ERR AUTH <password> called without any password configured for the default user.":       {config, false, "knows no password"},
		"NOPERM this user has no permissions to run the 'xadd' command":                          {config, true, "ACL SETUSER"},
		"DENIED Redis is running in protected mode because protected mode is enabled":            {config, false, "protected mode"},
		"WRONGTYPE Operation against a key holding the wrong kind of value":                      {config, true, "another stream"},
		"READONLY You can't write against a read only replica.":                                  {transient, false, "replica"},
		"LOADING Redis is loading the dataset in memory":                                         {transient, true, "from disk"},
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.":       {transient, false, "without its master"},
		"NOREPLICAS Not enough good replicas to write.":                                          {transient, true, "min-replicas"},
		"MOVED 3999 127.0.0.1:6381":                                                              {config, false, "cluster"},
		"ASK 3999 127.0.0.1:6381":                                                                {config, false, "cluster"},
		"CLUSTERDOWN Hash slot not served":                                                       {transient, false, "cluster"},
		"TRYAGAIN Multiple keys request during rehashing of slot":                                {transient, true, "moving"},
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": {transient, true, "SCRIPT KILL"},
		"ERR max number of clients reached":                                                      {transient, false, "maxclients"},
		"ERR Protocol error: invalid bulk length":                                                {tooLarge, false, "proto-max-bulk-len"},
		"ERR string exceeds maximum allowed size (proto-max-bulk-len)":                           {tooLarge, true, "proto-max-bulk-len"},
		"ERR Elements are too large to be stored":                                                {tooLarge, true, "max_batch"},
		"ERR unknown command 'WAITAOF', with args beginning with: '1' '0' '100'":                 {config, true, "7.2"},
		"ERR syntax error": {config, true, "6.2"},
		"ERR The ID specified in XADD is equal or smaller than the target stream top item": {config, true, "highest id"},
		"ERR The stream has exhausted the last possible ID, unable to add more items":      {config, true, "highest id"},
		"ERR DB index is out of range":                                                                         {config, false, "databases"},
		"ERR SELECT is not allowed in cluster mode":                                                            {config, false, "cluster"},
		"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.":                          {config, true, "append-only"},
		"ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica …": {config, true, "replica"},
		"ERR something that nobody has thought of\x1b[31m":                                                     {transient, true, "sent again"},
	}
}

func TestEveryErrorHasItsClass(t *testing.T) {
	for text, c := range sayings() {
		t.Run(text[:min(len(text), 30)], func(t *testing.T) {
			var dials, refused atomic.Int32
			address := peer(t, func(words []string) string {
				switch {
				case words[0] == "CONFIG":
					dials.Add(1)
					return "*0\r\n"
				case refused.Add(1) == 1:
					return "-" + text + "\r\n"
				}
				return "$3\r\n1-0\r\n"
			})
			sink := newSink(t, Config{Address: address})
			err := sink.Send(within(t), message("body"))
			checkClass(t, err, c.class)
			if err != nil && (!strings.Contains(err.Error(), c.hint) || strings.Count(err.Error(), "hint: ") != 1 || strings.Contains(err.Error(), "\x1b")) {
				t.Errorf("%v, want %q in its one hint", err, c.hint)
			}
			if err := sink.Send(within(t), message("body")); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			if kept := dials.Load() == 1; kept != c.keep {
				t.Errorf("%d connections; kept is %v, want %v", dials.Load(), kept, c.keep)
			}
		})
	}
}

// A server may refuse a connection before it was told anything.
func TestRefusalBeforeTheFirstWord(t *testing.T) {
	for text, want := range map[string]class{
		"-ERR max number of clients reached\r\n":         transient,
		"-DENIED Redis is running in protected mode\r\n": config,
	} {
		sink := newSink(t, Config{Address: peer(t, func([]string) string { return text })})
		checkClass(t, sink.Send(within(t), message("body")), want)
	}
}

// One piece that is refused is enough: nothing else is believed.
func TestTheWorstPieceDecides(t *testing.T) {
	var entries atomic.Int32
	address := peer(t, func(words []string) string {
		switch {
		case words[0] == "CONFIG":
			return "*0\r\n"
		case entries.Add(1) == 2:
			return "-ERR Elements are too large to be stored\r\n"
		case entries.Load() == 3:
			return "-LOADING Redis is loading the dataset in memory\r\n"
		}
		return "$3\r\n1-0\r\n"
	})
	m, _ := cut(5)
	checkClass(t, newSink(t, Config{Address: address}).Send(within(t), m), tooLarge)
	if n := entries.Load(); n != 5 {
		t.Errorf("%d pieces were sent, want all 5 at once", n)
	}
}

// Whatever comes instead of an id is no custody, and ends the connection.
func TestOnlyAnIDIsCustody(t *testing.T) {
	for _, answer := range []string{"+OK\r\n", "$-1\r\n", ":1\r\n", "$5\r\nhello\r\n", "$2\r\n1-\r\n", "*1\r\n$3\r\n1-0\r\n", "$0\r\n\r\n", "+QUEUED\r\n"} {
		address := peer(t, func(words []string) string {
			if words[0] == "CONFIG" {
				return "*0\r\n"
			}
			return answer
		})
		err := newSink(t, Config{Address: address}).Send(within(t), message("body"))
		checkClass(t, err, transient)
		if !errors.Is(err, errReply) {
			t.Errorf("%q: %v", answer, err)
		}
	}
}

func TestCopiesAreWaitedFor(t *testing.T) {
	for _, c := range []struct {
		name   string
		cfg    Config
		answer string
		want   bool
		asked  string
	}{
		{"Enough", Config{Replicas: 2}, ":2\r\n", true, "WAIT 2"},
		{"TooFew", Config{Replicas: 2}, ":1\r\n", false, "WAIT 2"},
		{"Disk", Config{Disk: true}, "*2\r\n:1\r\n:0\r\n", true, "WAITAOF 1 0"},
		{"NoDisk", Config{Disk: true}, "*2\r\n:0\r\n:0\r\n", false, "WAITAOF 1 0"},
		{"Both", Config{Disk: true, Replicas: 1}, "*2\r\n:1\r\n:1\r\n", true, "WAITAOF 1 1"},
		{"NoReplica", Config{Disk: true, Replicas: 1}, "*2\r\n:1\r\n:0\r\n", false, "WAITAOF 1 1"},
		{"Garbage", Config{Replicas: 1}, "+OK\r\n", false, "WAIT 1"},
		{"GarbageOfDisk", Config{Disk: true}, ":1\r\n", false, "WAITAOF 1 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := make(chan string, 10)
			c.cfg.Address = peer(t, func(words []string) string {
				switch words[0] {
				case "CONFIG":
					return "*0\r\n"
				case "XADD":
					return "$3\r\n1-0\r\n"
				}
				asked <- strings.Join(words[:len(words)-1], " ")
				return c.answer
			})
			err := newSink(t, c.cfg).Send(within(t), message("body"))
			if (err == nil) != c.want {
				t.Errorf("%v", err)
			}
			if err != nil {
				checkClass(t, err, transient)
			}
			if got := <-asked; got != c.asked {
				t.Errorf("asked %q, want %q", got, c.asked)
			}
		})
	}
}
