package redisout

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

const user, password = "north", "right-0815"

func TestRealRedis(t *testing.T) {
	login := servertest.User(user, password)
	as := func(t *testing.T, address, password string, secure *tls.Config) uplink.Sink {
		return newSink(t, Config{Address: address, Username: user, Password: uplinktest.Secret(t, password), DB: 3, TLS: secure})
	}
	uplinktest.RunReal(t, uplinktest.Real{
		Server: func(t *testing.T) *servertest.Server {
			return servertest.Redis(t, login, servertest.MaxMessage(1<<20))
		},
		Protocol: "redis",
		New:      func(t *testing.T, address string) uplink.Sink { return as(t, address, password, nil) },
		Read: func(t *testing.T, address string) []uplinktest.Received {
			return entries(t, dial(t, address), "telemetry")
		},
		BadPassword: func(t *testing.T, address string) uplink.Sink {
			return as(t, address, uplinktest.WrongPassword, nil)
		},
		TLS: func(t *testing.T, address string, cfg *tls.Config) uplink.Sink { return as(t, address, password, cfg) },
		Secure: func(t *testing.T, certificate servertest.Option) string {
			return servertest.Redis(t, login, certificate).Addr("rediss")
		},
		Pieces:   true,
		Fills:    true,
		TooLarge: 1<<20 + 1,
	})
}

// dial logs in to database 3 of a server, if it has the user, else of one that
// knows nobody.
func dial(t testing.TB, address string) redis.Conn {
	t.Helper()
	c, err := redis.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Do("PING"); err != nil {
		do(t, c, "AUTH", user, password)
	}
	do(t, c, "SELECT", 3)
	return c
}

func do(t testing.TB, c redis.Conn, command string, args ...any) any {
	t.Helper()
	reply, err := c.Do(command, args...)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return reply
}

// entries reads a whole stream.
func entries(t testing.TB, c redis.Conn, stream string) (all []uplinktest.Received) {
	t.Helper()
	found, err := redis.Values(c.Do("XRANGE", stream, "-", "+"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found {
		fields, err := redis.StringMap(e.([]any)[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, uplinktest.Received{Key: fields["key"], Body: []byte(fields["body"])})
	}
	return all
}

// What a real server says, in its own words.
func TestRealRefusals(t *testing.T) {
	server := servertest.Redis(t, servertest.Config("enable-debug-command yes", "databases 4"))
	c := dial(t, server.Addr("redis"))
	replica := servertest.Redis(t, servertest.Config("replicaof "+strings.Replace(server.Addr("redis"), ":", " ", 1)))
	do(t, c, "ACL", "SETUSER", "reader", "on", ">x", "~*", "+@read", "+config|get")
	do(t, c, "ACL", "SETUSER", "writer", "on", ">x", "~*", "+xadd", "+select")
	do(t, c, "SET", "text", "no stream")
	do(t, c, "XADD", "ended", "18446744073709551615-18446744073709551615", "a", "b")
	at := server.Addr("redis")
	for _, r := range []struct {
		name  string
		cfg   Config
		class class
		hint  string
	}{
		{"WrongType", Config{Address: at, DB: 3, Stream: parsed(t, "text")}, config, "another stream"},
		{"Ended", Config{Address: at, DB: 3, Stream: parsed(t, "ended")}, config, "highest id"},
		{"Database", Config{Address: at, DB: 4}, config, "databases"},
		{"NotAllowed", Config{Address: at, Username: "reader", Password: uplinktest.Secret(t, "x")}, config, "ACL SETUSER"},
		{"NeedlessPassword", Config{Address: at, Password: uplinktest.Secret(t, "x")}, config, "knows no password"},
		{"Replica", Config{Address: replica.Addr("redis")}, transient, "replica"},
		{"Disk", Config{Address: at, Disk: true}, config, "7.2"},
		{"Replicas", Config{Address: at, Replicas: 2}, transient, "wait_replicas"},
	} {
		t.Run(r.name, func(t *testing.T) {
			enough := patience
			if r.cfg.Replicas > 0 { // which are waited for nearly as long as that
				enough = 3 * time.Second
			}
			err := patiently(t, newSink(t, r.cfg), enough)
			if r.name == "Disk" && err == nil {
				t.Skip("this server is Redis 7.2 or later")
			}
			checkClass(t, err, r.class)
			if err != nil && (!strings.Contains(err.Error(), r.hint) || strings.Count(err.Error(), "hint: ") != 1) {
				t.Errorf("%v, want %q in its one hint", err, r.hint)
			}
		})
	}
	t.Run("OnlyWriting", func(t *testing.T) {
		sink := newSink(t, Config{Address: at, Username: "writer", Password: uplinktest.Secret(t, "x"), DB: 2})
		if err := sink.Send(within(t), message("body")); err != nil || sink.Limit() != 0 {
			t.Errorf("%v, limit %d", err, sink.Limit())
		}
		if text, err := sink.Probe(within(t)); err != nil || !strings.Contains(text, "unknown") {
			t.Errorf("%q %v", text, err)
		}
	})
	t.Run("OneReplica", func(t *testing.T) {
		linked(t, replica.Addr("redis"))
		if err := newSink(t, Config{Address: at, Replicas: 1}).Send(within(t), message("body")); err != nil {
			t.Error(err)
		}
	})
}

// patiently sends until it has had the time to hear what the server says.
func patiently(t *testing.T, sink *Sink, enough time.Duration) (err error) {
	t.Helper()
	for ; enough <= patience; enough *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), enough)
		err = sink.Send(ctx, message("body"))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	return err
}

// linked waits until a replica follows its master.
func linked(t *testing.T, address string) {
	t.Helper()
	c := dial(t, address)
	for ctx := within(t); ctx.Err() == nil; {
		if info, _ := redis.String(c.Do("INFO", "replication")); strings.Contains(info, "master_link_status:up") {
			return
		}
	}
	t.Fatal("the replica does not follow")
}

func TestProbeSaysWhatAnIDIsWorth(t *testing.T) {
	for name, c := range map[string]struct {
		options []servertest.Option
		cfg     Config
		want    []string
	}{
		"Always":    {nil, Config{}, []string{"Redis ", "stream telemetry", "on disk before its id"}},
		"Everysec":  {[]servertest.Option{servertest.Config("appendfsync everysec")}, Config{DB: 2}, []string{"database 2", "the last second"}},
		"Never":     {[]servertest.Option{servertest.Config("appendfsync no")}, Config{}, []string{"half minute"}},
		"Volatile":  {[]servertest.Option{servertest.Volatile()}, Config{}, []string{"NOT persistent", "appendonly yes"}},
		"Snapshots": {[]servertest.Option{servertest.Volatile(), servertest.Config("save 3600 1")}, Config{}, []string{"snapshots only"}},
		"Evicts":    {[]servertest.Option{servertest.Config("maxmemory 100mb", "maxmemory-policy allkeys-lru")}, Config{}, []string{"deletes streams"}},
		"Trims":     {nil, Config{MaxLen: 10}, []string{"trimmed"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := servertest.Redis(t, c.options...)
			c.cfg.Address = server.Addr("redis")
			text, err := newSink(t, c.cfg).Probe(within(t))
			for _, want := range c.want {
				if err != nil || !strings.Contains(text, want) {
					t.Errorf("%q %v, want %q in it", text, err, want)
				}
			}
			if name == "Always" && strings.Contains(text, "hint") {
				t.Errorf("%q, want no hint", text)
			}
			if n, err := redis.Int(dial(t, c.cfg.Address).Do("DBSIZE")); n != 0 || err != nil {
				t.Errorf("Probe left %d keys, %v", n, err)
			}
		})
	}
	server := servertest.Redis(t)
	var err error
	inClear := func() bool { return err != nil && strings.Contains(err.Error(), "speak TLS") }
	for enough := 200 * time.Millisecond; enough < patience && !inClear(); enough *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), enough)
		_, err = newSink(t, Config{Address: server.Addr("redis"), TLS: &tls.Config{}}).Probe(ctx)
		cancel()
	}
	if !inClear() {
		t.Errorf("TLS to a port without: %v", err)
	}
	do(t, dial(t, server.Addr("redis")), "SET", "text", "no stream")
	_, err = newSink(t, Config{Address: server.Addr("redis"), DB: 3, Stream: parsed(t, "text")}).Probe(within(t))
	checkClass(t, err, config)
}

// A stream that is trimmed stays about as long as it may be.
func TestRealTrimming(t *testing.T) {
	server := servertest.Redis(t)
	c := dial(t, server.Addr("redis"))
	sink := newSink(t, Config{Address: server.Addr("redis"), DB: 3, MaxLen: 100})
	for range 10 {
		m, _ := cut(100)
		if err := sink.Send(within(t), m); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := redis.Int(c.Do("XLEN", "telemetry")); n < 100 || n > 300 || err != nil {
		t.Errorf("%d entries, want about 100; %v", n, err)
	}
}

// A server that does not tell its limit says what is too large while it is still
// being sent to, and hangs up.
func TestRealLimitThatIsNotTold(t *testing.T) {
	server := servertest.Redis(t, servertest.MaxMessage(1<<20), servertest.Config("rename-command CONFIG hidden"))
	sink := newSink(t, Config{Address: server.Addr("redis")})
	for range 20 {
		checkClass(t, sink.Send(within(t), message(strings.Repeat("x", 3<<20))), tooLarge)
	}
	if n := sink.Limit(); n != 0 {
		t.Errorf("limit %d, and nobody told it", n)
	}
	if err := sink.Send(within(t), message("body")); err != nil {
		t.Error(err)
	}
}

// Servers close connections that are idle, and operators those that they want to.
// That is no outage.
func TestRestedConnectionThatIsClosedCostsNothing(t *testing.T) {
	server := servertest.Redis(t)
	sink := newSink(t, Config{Address: server.Addr("redis")})
	for range 3 {
		if err := sink.Send(within(t), message("body")); err != nil {
			t.Fatal(err)
		}
		l, err := sink.seat.Get(within(t), sink.open)
		if err != nil {
			t.Fatal(err)
		}
		do(t, dial(t, server.Addr("redis")), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		<-l.gone
	}
}
