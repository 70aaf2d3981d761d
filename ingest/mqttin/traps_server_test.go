package mqttin

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// A SUBSCRIBE of MQTT 5 that ends before its options ended the process.
func TestTrapSubscribeWithoutOptions(t *testing.T) {
	src := start(t, instant(), Config{})
	witness := connect(t, src, 4, "witness")
	for range 20 {
		c := connect(t, src, 5, "c")
		c.Write(wire(0x82, uint16(1), props(), "d"))
		if got := c.hungUp(); len(got) != 1 || got[0].ReasonCode != codeMalformed {
			t.Fatalf("got %s", describe(got))
		}
	}
	publishAcked(witness, "d", "1")
	if s := src.Stats(); s.Malformed != 20 || s.Clients != 1 {
		t.Errorf("counted %+v", s)
	}
}

// The length of a packet could be preceded by any number of bytes, and a few of
// them reserved the memory for the largest packet of all.
func TestTrapLengthsAreChecked(t *testing.T) {
	src := start(t, instant(), Config{})
	for _, b := range []string{
		"\x10" + strings.Repeat("\x80", 100_000),
		"\x10\xff\xff\xff\x7f",
		"\x10\x8d\x00",
	} {
		c := dial(t, src)
		c.Write([]byte(b))
		c.hungUp()
	}
}

// Its listeners end for good at the first error, and let any web page in; its
// list of users lets everybody in whom no rule names; its storage commits every
// event alone. None of them is here.
func TestTrapOnlyTheServerItselfIsUsed(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	const library = `"github.com/mochi-mqtt/server/v2`
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			rest, ok := strings.CutPrefix(i.Path.Value, library)
			if ok && rest != `"` && rest != `/packets"` {
				t.Errorf("%s imports %s", file, i.Path.Value)
			}
		}
	}
	src := start(t, instant(), Config{})
	connect(t, src, 4, "c")
	if n := src.broker.server.Listeners.Len(); n != 0 {
		t.Errorf("the server has %d listeners of its own", n)
	}
}

// The first step of a clock that began in 1970 ended every session that had a
// time to live, and took every message away that had one. Here the wall clock
// goes on, and the uptime does not.
func TestTrapClockStepExpiresNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := New(Config{Routes: testRoutes(t), Anonymous: true, SysInterval: -1}, slog.New(slog.DiscardHandler))
		src.clock = clock{boot: 1, uptime: func() time.Duration { return time.Hour }, wall: time.Now, synced: func() bool { return true }}
		b, err := newBroker(t.Context(), src, ingest.NewIntake(instant(), nil, time.Now))
		if err != nil {
			t.Fatal(err)
		}
		join := func(id string, present bool) *client {
			ours, theirs := net.Pipe()
			b.ended.Go(func() { b.serve(theirs, false) })
			c := newClient(t, ours)
			c.version = 5
			ack := c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: id},
				Properties: packets.Properties{SessionExpiryInterval: 100, SessionExpiryIntervalFlag: true}})
			if ack.SessionPresent != present {
				t.Errorf("%s: session present: %v, want %v", id, ack.SessionPresent, present)
			}
			return c
		}
		reader := join("reader", false)
		reader.subscribe(1, 1, "d")
		reader.Close()
		writer := join("writer", false)
		pk := publishPacket("d", "1", 1, 1)
		pk.FixedHeader.Retain = true
		pk.Properties.MessageExpiryInterval = 100
		writer.send(pk)
		writer.expect(packets.Puback, 1)
		writer.Close()
		<-time.After(1000 * time.Second)
		reader = join("reader", true)
		if got := reader.read(); string(got.Payload) != "1" || got.Properties.MessageExpiryInterval != 100 {
			t.Errorf("got %s that expires in %d s", got.Payload, got.Properties.MessageExpiryInterval)
		}
		reader.subscribe(2, 0, "+")
		if got := reader.read(); !got.FixedHeader.Retain {
			t.Errorf("got %+v", got.FixedHeader)
		}
		reader.Close()
		b.stop()
	})
}

// A clock is believed only while it can be.
func TestTrapUnsureClockProvesNothing(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	k := clock{boot: 1, uptime: func() time.Duration { return time.Hour }, wall: func() time.Time { return at }}
	for _, tt := range []struct {
		name         string
		then, now    bool // the clock is synchronized
		boot         uint32
		uptime, wall time.Duration // that have passed
		want         time.Duration
	}{
		{"same boot, clock stepped", true, true, 1, time.Minute, 50 * 365 * 24 * time.Hour, time.Minute},
		{"same boot, clock set back", true, true, 1, time.Minute, -time.Hour, time.Minute},
		{"another boot, both sure", true, true, 2, 0, time.Minute, time.Minute},
		{"another boot, was not sure", false, true, 2, 0, 50 * 365 * 24 * time.Hour, 0},
		{"another boot, is not sure", true, false, 2, 0, 50 * 365 * 24 * time.Hour, 0},
		{"another boot, clock set back", true, true, 2, 0, -time.Hour, 0},
	} {
		then, now := k, k
		then.synced = func() bool { return tt.then }
		now.synced = func() bool { return tt.now }
		now.boot = tt.boot
		now.uptime = func() time.Duration { return time.Hour + tt.uptime }
		now.wall = func() time.Time { return at.Add(tt.wall) }
		if got := now.since(then.moment(0)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A session that was resumed brought subscriptions and messages along that the
// rules do not allow any more.
func TestTrapResumedSessionIsLookedAtAgain(t *testing.T) {
	custody := instant()
	src, stop := run(t, custody, Config{Anonymous: true})
	reader := resume(t, src, 4, "reader")
	reader.subscribe(1, 1, "secret", "open")
	reader.Close()
	gone(t, src)
	publishAcked(connect(t, src, 4, "writer"), "secret", "before")
	stop()

	src = start(t, custody, Config{Rules: []Rule{{User: Everybody, Publish: []string{"#"}, Subscribe: []string{"open"}}}})
	reader = resume(t, src, 4, "reader")
	writer := connect(t, src, 4, "writer")
	publishAcked(writer, "secret", "after")
	publishAcked(writer, "open", "yes")
	if got := reader.read(); string(got.Payload) != "yes" {
		t.Errorf("got %s", got.Payload)
	}
	if src.Stats().Denied == 0 {
		t.Error("nothing was counted")
	}
}

// Stopping waited for ever for a hook that did not return.
func TestTrapStopWhileCustodyWaits(t *testing.T) {
	custody := &waitingCustody{Custody: instant(), asked: make(chan struct{})}
	src, stop := run(t, custody, Config{Anonymous: true})
	c := connect(t, src, 4, "c")
	c.publish("d", "1", 1, 1)
	<-custody.asked
	stop()
	c.hungUp()
}

// waitingCustody has no room until whoever asks gives up.
type waitingCustody struct {
	*ingesttest.Custody
	once  sync.Once
	asked chan struct{}
}

func (c *waitingCustody) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	if len(rs) == 0 {
		return c.Custody.Accept(ctx, rs, notes...)
	}
	c.once.Do(func() { close(c.asked) })
	<-ctx.Done()
	return nil, ctx.Err()
}

// Writing to a socket that is gone was no reason to end a connection.
func TestTrapFailedWriteEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, peer := pipeGate(t)
		peer.Close()
		g.Write([]byte("x"))
		synctest.Wait()
		if _, err := g.Write([]byte("y")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write to a broken connection: %v", err)
		}
	})
}

// Every trap is in the table, with the tests that it is held by.
func TestTrapsAreListed(t *testing.T) {
	table, err := os.ReadFile("TRAPS.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range trapTests(t) {
		if !strings.Contains(string(table), "`"+name+"`") {
			t.Errorf("TRAPS.md does not name %s", name)
		}
	}
	rows := 0
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || strings.Trim(cells[1], " -#") == "" {
			continue // no row, or the head
		}
		if rows++; strings.TrimSpace(cells[1]) != fmt.Sprint(rows) || !strings.Contains(cells[4], "`Test") {
			t.Errorf("row %d is another, or names no test: %s", rows, line)
		}
	}
	if rows < 33 {
		t.Errorf("%d traps", rows)
	}
}

// trapTests returns the names of the tests of traps.
func trapTests(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(d.Name.Name, "TestTrap") && d.Name.Name != "TestTrapsAreListed" {
				names[d.Name.Name] = true
			}
		}
	}
	return names
}
