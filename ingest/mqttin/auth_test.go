package mqttin

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"
)

// passwords lets in users with the passwords that follow their names.
func passwords(pairs ...string) func(context.Context, string, []byte) bool {
	return func(_ context.Context, user string, password []byte) bool {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == user && pairs[i+1] == string(password) {
				return true
			}
		}
		return false
	}
}

func loginPacket(id, user, password string) packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, Connect: packets.ConnectParams{
		ProtocolName: []byte("MQTT"), ClientIdentifier: id, Clean: true, Keepalive: 60,
		UsernameFlag: true, Username: []byte(user), PasswordFlag: true, Password: []byte(password),
	}}
}

// login connects with a password, which must be right.
func login(t *testing.T, src *Source, version byte, id, user, password string) *client {
	t.Helper()
	c := dial(t, src)
	c.version = version
	c.hello(loginPacket(id, user, password))
	return c
}

// knock connects and returns what CONNACK says; the connection ends with the
// test.
func knock(t *testing.T, src *Source, version byte, pk packets.Packet) byte {
	t.Helper()
	return dial(t, src).knock(version, pk)
}

func (c *client) knock(version byte, pk packets.Packet) byte {
	c.t.Helper()
	c.version = version
	c.send(pk)
	return c.expect(packets.Connack, 0).ReasonCode
}

func TestWrongPasswordIsToldInEachVersion(t *testing.T) {
	src := start(t, instant(), Config{Authorize: passwords("anna", "a")})
	for _, c := range []struct {
		version  byte
		password string
		want     byte
	}{{4, "a", 0}, {5, "a", 0}, {4, "b", 5}, {5, "b", codeBadLogin}} {
		if got := knock(t, src, c.version, loginPacket("", "anna", c.password)); got != c.want {
			t.Errorf("v%d, password %s: got %#x, want %#x", c.version, c.password, got, c.want)
		}
	}
	if got := src.Stats().BadLogins; got != 2 {
		t.Errorf("%d bad logins", got)
	}
}

// A name may have 64 KiB, and whoever guesses chooses another one each time: the log, and
// what is remembered of whom was told, keep the beginning.
func TestLongNamesAreToldOfBriefly(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	var log bytes.Buffer
	b := &broker{log: slog.New(slog.NewTextHandler(&log, nil)), stats: &counters{}}
	long := strings.Repeat("ü", 30_000)
	for _, end := range []string{"1", "2"} {
		c := &conn{Conn: here, broker: b, stats: b.stats, user: "a" + long + end}
		c.turnAway(long, codeBadLogin)
	}
	if log.Len() > 1000 || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "user=aü") || !utf8.Valid(log.Bytes()) || strings.ContainsRune(log.String(), utf8.RuneError) {
		t.Errorf("%d bytes: %.1000s", log.Len(), &log)
	}
	if got := brief("anna"); got != "anna" {
		t.Errorf("%q", got)
	}
}

// Whoever knows the client identifier of another must get neither his session
// nor his place.
func TestSessionBelongsToItsUser(t *testing.T) {
	src := start(t, instant(), ruled())
	anna := dial(t, src)
	hello := loginPacket("device", "anna", "a")
	hello.Connect.Clean = false
	anna.hello(hello)
	anna.subscribe(1, 1, "cmd/anna/x")
	for _, clean := range []bool{true, false} {
		thief := loginPacket("device", "ben", "b")
		thief.Connect.Clean = clean
		if got := knock(t, src, 5, thief); got != codeClientIDInvalid {
			t.Errorf("while it is here: got %#x", got)
		}
	}
	anna.publish("dev/anna/t", "1", 1, 2) // not even disturbed
	anna.expect(packets.Puback, 2)
	anna.Close()
	retry(t, func() bool { return src.Stats().Clients == 0 })
	if got := knock(t, src, 5, loginPacket("device", "ben", "b")); got != codeClientIDInvalid {
		t.Errorf("while it is away: got %#x", got)
	}
	again := dial(t, src)
	if ack := again.hello(hello); !ack.SessionPresent {
		t.Error("the session is gone")
	}
}

// Rights come from who connects now, not from what the session was.
func TestUserTakesOverHisOwnSession(t *testing.T) {
	src := start(t, instant(), ruled())
	first := login(t, src, 5, "device", "anna", "a")
	second := login(t, src, 5, "device", "anna", "a")
	first.hungUp()
	second.publish("dev/anna/t", "1", 1, 1)
	if got := second.expect(packets.Puback, 1); got.ReasonCode != 0 {
		t.Errorf("got %#x", got.ReasonCode)
	}
}

func TestClientIDMayHaveToBeTheUsers(t *testing.T) {
	src := start(t, instant(), Config{MatchClientID: true, Authorize: passwords("anna", "a", "", "n")})
	for _, c := range []struct {
		id, user, password string
		want               byte
	}{
		{"anna", "anna", "a", 0}, {"anna:2", "anna", "a", 0}, {"", "anna", "a", 0},
		{"anna2", "anna", "a", codeClientIDInvalid}, {"ann", "anna", "a", codeClientIDInvalid},
		{"ben", "anna", "a", codeClientIDInvalid}, {":x", "", "n", codeClientIDInvalid},
	} {
		if got := knock(t, src, 5, loginPacket(c.id, c.user, c.password)); got != c.want {
			t.Errorf("%q as %q: got %#x", c.id, c.user, got)
		}
	}
}

func TestGuessingIsSlowForTheGuesserOnly(t *testing.T) {
	inVirtualTime(t, Config{Authorize: passwords("anna", "a", "ben", "b")}, func(t *testing.T, _ *Source, join func() *client) {
		for i := range freeGuesses + 1 {
			if got := join().knock(5, loginPacket("", "anna", fmt.Sprint(i))); got != codeBadLogin {
				t.Fatalf("guess %d: got %#x", i, got)
			}
		}
		if got := join().knock(5, loginPacket("", "anna", "a")); got != codeRateExceeded {
			t.Errorf("right password during the pause: got %#x", got)
		}
		if got := join().knock(4, loginPacket("", "ben", "b")); got != 0 {
			t.Errorf("somebody else: got %#x", got)
		}
	})
}

func TestPausesDouble(t *testing.T) {
	var guard throttle
	who, now := guesser{"192.0.2.1", "anna"}, time.Unix(1e9, 0)
	guess := func(result outcome) bool {
		ok := guard.begin(who, now)
		if ok {
			guard.end(who, now, result)
		}
		return ok
	}
	for range freeGuesses {
		guess(wrong)
	}
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if !guess(wrong) {
			t.Fatal("not looked at after the pause")
		}
		now = now.Add(pause*time.Second - 1)
		if guess(wrong) {
			t.Fatalf("looked at before %d s were over", pause)
		}
		now = now.Add(1)
	}
	if !guard.begin(who, now) || guard.begin(who, now) {
		t.Fatal("after a pause, not exactly one is looked at")
	}
	guard.end(who, now, undecided)
	if !guess(right) || !guess(right) {
		t.Error("the right password does not end it")
	}
}

func TestGuessersAreBounded(t *testing.T) {
	var guard throttle
	now := time.Unix(1e9, 0)
	for i := range maxGuessers + 5 {
		guard.end(guesser{"192.0.2.1", fmt.Sprint(i)}, now.Add(time.Duration(i)), wrong)
	}
	if len(guard.guessers) != maxGuessers {
		t.Errorf("%d guessers", len(guard.guessers))
	}
	if _, ok := guard.guessers[guesser{"192.0.2.1", "0"}]; ok {
		t.Error("the oldest is not the one who is forgotten")
	}
}

// Passwords wait for a processor. Neither a client that has given up by then nor
// the gateway's end waits for them.
func TestLoginsThatWaitDoNotWaitForEver(t *testing.T) {
	slow := func(ctx context.Context, _ string, _ []byte) bool {
		<-ctx.Done()
		return false
	}
	inVirtualTime(t, Config{Authorize: slow}, func(t *testing.T, _ *Source, join func() *client) {
		began := time.Now()
		if got := join().knock(5, loginPacket("", "anna", "a")); got != codeServerBusy {
			t.Errorf("got %#x", got)
		}
		if waited := time.Since(began); waited != 10*time.Second {
			t.Errorf("answered after %v", waited)
		}
	})
	waiting := make(chan bool, 1)
	src, stop := run(t, instant(), Config{ConnectTimeout: time.Hour, Authorize: func(ctx context.Context, user string, password []byte) bool {
		waiting <- true
		return slow(ctx, user, password)
	}})
	dial(t, src).send(loginPacket("", "anna", "a"))
	<-waiting
	stop()
}
