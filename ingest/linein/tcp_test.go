package linein

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/reading"
)

func TestLinesBecomeReadingsOfTheirPeer(t *testing.T) {
	cfg := config()
	cfg.Target.Device, cfg.Target.Lane = "site/{peer}/x", reading.Alarm
	w := start(t, cfg)
	w.send(dial(t, "tcp", w.Source), "21.5\r\n{\"a\":1}\nno JSON\n\n")
	want := []string{"site/127.0.0.1/x m=21.5", "site/127.0.0.1/x a=1", "site/127.0.0.1/x raw=" + reading.Bytes("no JSON").String()}
	if got := w.values(3); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if r := w.custody.Taken(t, 3)[0]; r.Lane != reading.Alarm || r.Time == 0 {
		t.Errorf("%+v", r)
	}
	w.until("counts", func(s Stats) bool { return s.Frames.Frames == 3 && s.Opaque == 1 && s.Clients == 1 })
}

// "21" may be the first half of "21.5".
func TestHalfALineAtTheEndIsCountedAndNotTaken(t *testing.T) {
	w := start(t, config())
	conn := dial(t, "tcp", w.Source)
	w.send(conn, "1\n2\n21")
	conn.Close()
	w.until("half a line", func(s Stats) bool { return s.Frames.Partial == 1 && s.Frames.Garbage == 2 && s.Clients == 0 })
	if got := w.values(2); !slices.Equal(got, []string{"d m=1", "d m=2"}) {
		t.Errorf("%q", got)
	}
}

// A peer may say that it sends no more, and wait for its replies.
func TestRepliesComeAfterThePeerHasSaidItsLast(t *testing.T) {
	cfg := config()
	cfg.Reply = "+\n"
	custody := ingesttest.NewCustody()
	w := startOn(t, cfg, custody)
	conn := dial(t, "tcp", w.Source)
	w.send(conn, strings.Repeat("1\n", 1000))
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	custody.Taken(t, 1000)
	custody.CommitAtOnce()
	if got, err := io.ReadAll(conn); err != nil || string(got) != strings.Repeat("+\n", 1000) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestWithAReplyWhatIsNotStoredEndsTheConnection(t *testing.T) {
	cfg := config()
	cfg.Reply = "+\n"
	for name, fail := range map[string]func(*ingesttest.Custody){
		"refused": func(c *ingesttest.Custody) { c.Refuse(ingest.ErrFull) },
		"failed":  func(c *ingesttest.Custody) { c.Taken(t, 1); c.Fail(errors.New("disk is gone")) },
	} {
		t.Run(name, func(t *testing.T) {
			custody := ingesttest.NewCustody()
			w := startOn(t, cfg, custody)
			conn := dial(t, "tcp", w.Source)
			if name == "refused" {
				fail(custody)
			}
			w.send(conn, "1\n")
			if name == "failed" {
				fail(custody)
			}
			mustEnd(t, conn)
			w.until("counts", func(s Stats) bool { return s.NotStored == 1 && s.Clients == 0 })
		})
	}
}

// Nobody sends again what got no reply because there are none: it is held.
func TestWithoutAReplyNothingIsLostWhileThereIsNoRoom(t *testing.T) {
	custody := ingesttest.NewCustody()
	custody.Refuse(ingest.ErrFull)
	w := startOn(t, config(), custody)
	conn := dial(t, "tcp", w.Source)
	w.send(conn, "1\n2\n")
	conn.Close()
	w.until("a try", func(s Stats) bool { return s.Waits > 0 })
	custody.Refuse(nil)
	custody.Taken(t, 2)
	custody.Fail(errors.New("disk is gone")) // and once more
	custody.Taken(t, 4)
	custody.CommitAtOnce()
	w.until("the end", func(s Stats) bool { return s.Clients == 0 })
	stored := custody.Stored()
	if len(stored) != 2 || stored[0].Value.Float() != 1 || stored[1].Value.Float() != 2 {
		t.Errorf("%+v", stored)
	}
	if s := w.Stats(); s.NotStored != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAStopHandsOverWhatWasRead(t *testing.T) {
	custody := &slow{Custody: ingesttest.NewCustody(), entered: make(chan struct{})}
	w := startOn(t, config(), custody)
	w.send(dial(t, "tcp", w.Source), "1\n")
	<-custody.entered
	w.stop()
	if err := <-w.ended; err != nil {
		t.Error(err)
	}
	w.ended <- nil
	if got := custody.Custody.Taken(t, 0); len(got) != 1 || w.Stats().NotStored != 0 {
		t.Errorf("%v, %+v", got, w.Stats())
	}
}

// What custody has when the door stops, because the gateway does or begins anew, is on
// flash in a moment: a peer that gets no reply would send it again, to be stored twice.
func TestAStopRepliesForWhatCustodyHas(t *testing.T) {
	cfg := config()
	cfg.Reply = "OK\n"
	custody := ingesttest.NewCustody()
	w := startOn(t, cfg, ingesttest.Late{Custody: custody})
	conn := dial(t, "tcp", w.Source)
	w.send(conn, "1\n")
	custody.Taken(t, 1)
	w.stop()
	conn.SetReadDeadline(time.Now().Add(ingesttest.Patience))
	if got, err := io.ReadAll(conn); string(got) != cfg.Reply || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// A peer that reads no replies does not hold a stop up for long.
func TestAStopDoesNotWaitForReplies(t *testing.T) {
	cfg := config()
	cfg.Reply, cfg.WriteTimeout = strings.Repeat("r", MaxReply-1)+"\n", time.Hour
	w := start(t, cfg)
	crowd(t, w, 1, strings.Repeat("1\n", 400_000))
	w.custody.Taken(t, 2*maxUnsettled)
	w.stop()
	select {
	case err := <-w.ended:
		w.ended <- err
	case <-time.After(ingesttest.Patience):
		t.Error("it waits")
	}
}

// slow is a custody without room until the gateway is stopped.
type slow struct {
	*ingesttest.Custody
	entered chan struct{}
}

func (s *slow) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	if _, stopping := ctx.Deadline(); stopping {
		return s.Custody.Accept(ctx, rs, notes...)
	}
	close(s.entered)
	<-ctx.Done()
	return nil, ctx.Err()
}

// After a length that cannot be, anything may look like a frame.
func TestConnectionsWhoseFramesAreLostEnd(t *testing.T) {
	for name, c := range map[string]struct {
		framing frame.Config
		text    string
	}{
		"length":         {frame.Config{Kind: frame.Length}, "\x00\x011\xFF\xFF\x00\x012"},
		"octet-counting": {frame.Config{Kind: frame.Octets}, "1 1no count\n1 2"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config()
			cfg.Framing = c.framing
			w := start(t, cfg)
			conn := dial(t, "tcp", w.Source)
			w.send(conn, c.text)
			mustEnd(t, conn)
			w.until("lost", func(s Stats) bool { return s.Lost == 1 && s.Clients == 0 })
			if got := w.values(1); !slices.Equal(got, []string{"d m=1"}) {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestFramesThatAreTooLongCostThemselvesOnly(t *testing.T) {
	for name, c := range map[string]struct {
		framing frame.Config
		text    string
	}{
		"line":           {frame.Config{MaxFrame: 10}, "1\n" + strings.Repeat("3", 5000) + "\n2\n"},
		"octet-counting": {frame.Config{Kind: frame.Octets, MaxFrame: 10}, "1 1" + "5000 " + strings.Repeat("3", 5000) + "1 2"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config()
			cfg.Framing = c.framing
			w := start(t, cfg)
			w.send(dial(t, "tcp", w.Source), c.text)
			if got := w.values(2); !slices.Equal(got, []string{"d m=1", "d m=2"}) {
				t.Errorf("%q", got)
			}
			w.until("counts", func(s Stats) bool { return s.Frames.TooLong == 1 && s.Clients == 1 })
		})
	}
}

// What a device server passes on in bursts is apart in time.
func TestSilenceEndsFramesWhereTheFramingWantsIt(t *testing.T) {
	cfg := config()
	cfg.Framing = frame.Config{Kind: frame.Gap}
	cfg.Silence = 20 * time.Millisecond
	w := start(t, cfg)
	conn := dial(t, "tcp", w.Source)
	frames := []string{"1", "23", "45"}
	for i, f := range frames {
		w.send(conn, f)
		if i == len(frames)-1 {
			conn.Close() // which is silence, too
		}
		// A door that was stopped for 20 ms has not looked, and says so: that is
		// another test's, with a clock of its own. Frames come one by one all the same.
		doubtful := "d raw=" + reading.Bytes(f).String()
		if got := w.values(i + 1); len(got) != i+1 || got[i] != "d m="+f && got[i] != doubtful {
			t.Fatalf("%q, want %s at the end", got, f)
		}
	}
}

func TestDeviceServersAreDialledAndReadFrom(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	cfg := config()
	cfg.Transport, cfg.Address, cfg.Target.Device, cfg.Reply = Dial, server.Addr().String(), "{peer}", "+\n"
	custody := ingesttest.NewCustody()
	custody.CommitAtOnce()
	s := newSource(t, cfg)
	for n := 1; n <= 2; n++ { // the second is what daemon does after the first
		ended := make(chan error, 1)
		go func() { ended <- s.Run(t.Context(), ingest.NewIntake(custody, nil, time.Now)) }()
		conn, err := server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%d\n", n)
		if reply, err := bufio.NewReader(conn).ReadString('\n'); err != nil || reply != "+\n" {
			t.Errorf("%q, %v", reply, err)
		}
		conn.Close()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "closed the connection — hint: ") {
			t.Errorf("%v", err)
		}
	}
	if got := custody.Stored(); len(got) != 2 || got[1].Device != "127.0.0.1" || got[1].Value.Float() != 2 {
		t.Errorf("%+v", got)
	}
}

func TestAddressesThatCannotBeUsedAreToldWithAHint(t *testing.T) {
	address := porttest.For(t)
	mustHint(t, Dial, address)
	taken, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	mustHint(t, Listen, address)
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	mustHint(t, Datagrams, packets.LocalAddr().String())
}

func mustHint(t *testing.T, transport Transport, address string) {
	t.Helper()
	cfg := config()
	cfg.Transport, cfg.Address = transport, address
	err := newSource(t, cfg).Run(t.Context(), ingest.NewIntake(ingesttest.NewCustody(), nil, time.Now))
	if err == nil || !strings.Contains(err.Error(), " — hint: ") {
		t.Errorf("transport %d: %v", transport, err)
	}
}

func TestConfigurationsThatMakeNoSenseAreRefused(t *testing.T) {
	for what, change := range map[string]func(*Config){
		"there is no decoder":     func(c *Config) { c.Target = route.Target{} },
		"a reply of 257 bytes":    func(c *Config) { c.Reply = strings.Repeat("x", 257) },
		"TLS over UDP":            func(c *Config) { c.TLS, c.Transport = serverTLS(t), Datagrams },
		"framing slip has no use": func(c *Config) { c.Framing = frame.Config{Kind: frame.SLIP, Delimiter: "x"} },
	} {
		cfg := config()
		change(&cfg)
		if _, err := New(cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), what) || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%q: %v", what, err)
		}
	}
}
