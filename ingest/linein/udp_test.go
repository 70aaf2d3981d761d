package linein

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/ingesttest"
)

func udpConfig(kind frame.Kind) Config {
	cfg := config()
	cfg.Transport, cfg.Framing.Kind = Datagrams, kind
	return cfg
}

func TestDatagramsAreFramesOrLines(t *testing.T) {
	for name, c := range map[string]struct {
		kind frame.Kind
		send []string
		want []string
	}{
		"datagrams": {frame.Gap, []string{"{\"a\":1,\n\"b\":2}", "3"}, []string{"a=1", "b=2", "m=3"}},
		"lines":     {frame.Line, []string{"1\n2\r\n3", "4\n", "\n", "5"}, []string{"m=1", "m=2", "m=3", "m=4", "m=5"}},
		"slip":      {frame.SLIP, []string{"\xC01\xC02\xC0half", "3\xC0"}, []string{"m=1", "m=2", "m=3"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := udpConfig(c.kind)
			cfg.Target.Device = "{peer}"
			w := start(t, cfg)
			conn := dial(t, "udp", w.Source)
			for _, text := range c.send {
				w.send(conn, text)
			}
			got := w.values(len(c.want))
			for i := range got {
				got[i] = strings.TrimPrefix(got[i], "127.0.0.1 ")
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if w.Stats().ReceiveBuffer == 0 {
				t.Errorf("%+v", w.Stats())
			}
		})
	}
}

func TestOverUDPRepliesGoToWhoeverSent(t *testing.T) {
	cfg := udpConfig(frame.Line)
	cfg.Reply = "+"
	custody := ingesttest.NewCustody()
	w := startOn(t, cfg, custody)
	first, second := dial(t, "udp", w.Source), dial(t, "udp", w.Source)
	w.send(first, "1\n2\n3")
	w.send(second, "4")
	custody.Taken(t, 4)
	custody.Fail(errors.New("disk is gone"))
	w.until("not stored", func(s Stats) bool { return s.NotStored == 4 })
	custody.CommitAtOnce()
	w.send(first, "1\n2\n3") // again, as nobody replied
	w.send(second, "4")
	for conn, want := range map[net.Conn]string{first: "+++", second: "+"} {
		if err := conn.SetReadDeadline(time.Now().Add(ingesttest.Patience)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 10)
		if n, err := conn.Read(b); err != nil || string(b[:n]) != want {
			t.Errorf("%q, %v; want %q", b[:n], err, want)
		}
	}
}

// While custody has no room, the queue holds what it can, and the rest is counted.
func TestDatagramsBeyondTheQueueAreCounted(t *testing.T) {
	const n = 2000
	custody := ingesttest.NewCustody()
	custody.Refuse(ingest.ErrFull)
	cfg := udpConfig(frame.Gap)
	cfg.Queue = 16 << 10
	w := startOn(t, cfg, custody)
	conn := dial(t, "udp", w.Source)
	for i := range n {
		w.send(conn, fmt.Sprint(i))
	}
	w.until("overrun", func(s Stats) bool { return s.Overrun > 0 && s.Waits > 0 })
	custody.Refuse(nil)
	custody.CommitAtOnce()
	w.untilAccounted(conn, n)
	w.until("stored", func(s Stats) bool { return uint64(len(custody.Stored())) == s.Frames.Frames })
}

// untilAccounted waits until all of the n datagrams that were sent are frames, or
// counted as lost. The kernel tells what it lost beside the next datagram that it
// has room for: while nothing moves, one more is sent.
func (w *world) untilAccounted(conn net.Conn, n uint64) {
	w.t.Helper()
	before := uint64(0)
	w.until("all are accounted for", func(s Stats) bool {
		now := s.Frames.Frames + s.Unread()
		if now < n && now == before {
			w.send(conn, "0")
			n++
		}
		before = now
		return now == n
	})
}

// A stop takes what was received already.
func TestAStopEmptiesTheQueue(t *testing.T) {
	custody := ingesttest.NewCustody()
	custody.Refuse(ingest.ErrFull)
	w := startOn(t, udpConfig(frame.Gap), custody)
	conn := dial(t, "udp", w.Source)
	w.send(conn, "1")
	w.until("held", func(s Stats) bool { return s.Waits > 0 })
	w.send(conn, "2")
	custody.Refuse(nil)
	w.stop()
	if err := <-w.ended; err != nil {
		t.Error(err)
	}
	w.ended <- nil
	if got := len(custody.Taken(t, 0)); got == 0 || got+int(w.Stats().Unread()) > 2 {
		t.Errorf("%d were taken, %+v", got, w.Stats())
	}
}

// The kernel says what it lost.
func TestWhatTheKernelLosesIsCounted(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn := packets.(*net.UDPConn)
	defer conn.Close()
	if granted := deepen(conn, 4096); granted <= 0 || granted > 64<<10 {
		t.Errorf("%d bytes", granted)
	}
	to, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	got, missed := 0, uint64(0)
	var drops overflow
	receive := func() bool {
		b, oob := make([]byte, 100), make([]byte, oobSize)
		n, m, _, _, err := conn.ReadMsgUDPAddrPort(b, oob)
		if err != nil {
			t.Fatal(err)
		}
		got++
		missed += drops.since(oob[:m])
		return string(b[:n]) == "the last"
	}
	const n = 1000
	for range n {
		if _, err := to.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	receive()
	for range 3 { // of which the first ones find room now
		if _, err := to.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(ingesttest.Patience)); err != nil {
		t.Fatal(err)
	}
	for got+int(missed) < n && got < n { // all that wait, and one more
		if got+int(missed) >= n-1 {
			break
		}
		receive()
		if _, err := to.Write([]byte("y")); err != nil {
			t.Fatal(err)
		}
	}
	if missed == 0 || got == 0 {
		t.Errorf("%d received, %d missed", got, missed)
	}
}

func FuzzOverflow(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x14\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x28\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, oob []byte) {
		var o overflow
		if first, second := o.since(oob), o.since(oob); second != 0 || first > 1<<32-1 {
			t.Errorf("%d, %d", first, second)
		}
	})
}

// Peers whose addresses are made up cost no memory for ever.
func TestNamesOfPeersAreBounded(t *testing.T) {
	cfg := udpConfig(frame.Gap)
	cfg.Target.Device = "{peer}"
	r := newReceiver(newDoor(newSource(t, cfg), nil), nil)
	for i := range 3 * maxTargets {
		peer := net.IPv4(10, byte(i>>16), byte(i>>8), byte(i))
		addr := (&net.UDPAddr{IP: peer}).AddrPort().Addr()
		if got := r.targetOf(addr).Device; got != peer.String() {
			t.Fatalf("%s, want %s", got, peer)
		}
	}
	if len(r.targets) > maxTargets {
		t.Errorf("%d", len(r.targets))
	}
}

// Lines of NMEA 0183 come over UDP from receivers on board, several at once.
func TestChecksumsCountOverUDPToo(t *testing.T) {
	cfg := udpConfig(frame.Line)
	cfg.Framing.Checksum = frame.NMEA
	cfg.Target.Decoder = decode.Raw{}
	w := start(t, cfg)
	conn := dial(t, "udp", w.Source)
	good := "$GPGLL,4916.45,N,12311.12,W,225444,A,*1D"
	w.send(conn, good+"\r\n"+strings.Replace(good, "4916", "4917", 1)+"\r\n"+good)
	w.until("checked", func(s Stats) bool { return s.Frames.Frames == 2 && s.Frames.BadChecksum == 1 })
	if got := w.values(2); !strings.Contains(got[0], "m=") {
		t.Errorf("%q", got)
	}
}

func TestManyDatagramsComeInOrder(t *testing.T) {
	w := start(t, udpConfig(frame.Gap))
	conn := dial(t, "udp", w.Source)
	const n = 20_000
	const ahead = 100 // of which the kernel loses none, however late they are read
	for i := range uint64(n) {
		w.send(conn, fmt.Sprint(i))
		if i%ahead == ahead-1 {
			w.until("read", func(s Stats) bool { return s.Frames.Frames+ahead > i })
		}
	}
	for i, r := range w.custody.Taken(t, n)[:n] {
		if v := r.Value.Float(); int(v) != i {
			t.Fatalf("%v is number %d", v, i)
		}
	}
}

// A peer finds one reply for what it sent in one datagram, whatever else it has
// under way: firmware reads a datagram into a few bytes and drops the rest.
func TestEachDatagramHasAReplyOfItsOwn(t *testing.T) {
	cfg := udpConfig(frame.Line)
	cfg.Reply = "+"
	custody := ingesttest.NewCustody()
	w := startOn(t, cfg, custody)
	conn := dial(t, "udp", w.Source)
	lines := strings.Repeat("1\n", 3*repliesAtOnce)
	want := []string{"+", "++", "+", strings.Repeat("+", 3*repliesAtOnce)}
	for _, text := range []string{"1", "2\n3\n", "4\n", lines} {
		w.send(conn, text)
	}
	custody.Taken(t, 4+3*repliesAtOnce)
	custody.CommitAtOnce()
	if err := conn.SetReadDeadline(time.Now().Add(ingesttest.Patience)); err != nil {
		t.Fatal(err)
	}
	for _, reply := range want {
		b := make([]byte, 1000)
		if n, err := conn.Read(b); err != nil || string(b[:n]) != reply {
			t.Errorf("%q, %v; want %q", b[:n], err, reply)
		}
	}
}
