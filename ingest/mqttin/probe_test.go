package mqttin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// probe asks the door to prove that it works, within the patience of tests.
func probe(t *testing.T, src *Source) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ingesttest.Patience)
	defer cancel()
	return src.Probe(ctx)
}

// inBackground probes and delivers what comes of it.
func inBackground(t *testing.T, src *Source) <-chan error {
	done := make(chan error, 1)
	src.Addr(t.Context())
	go func() { done <- src.Probe(t.Context()) }()
	return done
}

func TestAProbeIsAnsweredWhenCustodyIsTaken(t *testing.T) {
	custody := &told{Custody: ingesttest.NewCustody(), came: make(chan struct{}, 1)}
	src := start(t, custody, Config{})
	done := inBackground(t, src)
	<-custody.came
	select {
	case err := <-done:
		t.Fatalf("answered before the commit: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	custody.Commit()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAProbeFailsWithTheCommit(t *testing.T) {
	custody := &told{Custody: ingesttest.NewCustody(), came: make(chan struct{}, 1)}
	src := start(t, custody, Config{})
	done := inBackground(t, src)
	<-custody.came
	custody.Fail(errors.New("disk is gone"))
	if err := <-done; err == nil {
		t.Error("the commit failed, and the probe did not")
	}
}

// Doors that let nobody in without a certificate, a password or a rule let their own
// probe in, and nobody else for that.
func TestAProbeComesThroughEveryDoor(t *testing.T) {
	a := newAuthority(t)
	strict := passwords("anna", "a")
	for name, cfg := range map[string]Config{
		"plain":                {},
		"passwords":            {Authorize: strict},
		"identifiers":          {Authorize: strict, MatchClientID: true},
		"rules":                {Rules: []Rule{{User: "anna", Publish: []string{"a/#"}}}},
		"TLS":                  {TLS: a.server("", false)},
		"client certificates":  {TLS: a.server(a.path("ca.pem"), false)},
		"certificates or else": {TLS: a.server(a.path("ca.pem"), true), Authorize: strict},
		"slow clients only":    {MaxRate: 1, MaxByteRate: 1},
	} {
		t.Run(name, func(t *testing.T) {
			src := start(t, instant(), cfg)
			src.Addr(t.Context())
			for range 3 {
				if err := probe(t, src); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestAProbeCountsNowhereAndTakesNobodysPlace(t *testing.T) {
	custody := instant()
	src := start(t, custody, Config{MaxClients: 1})
	device := connect(t, src, 4, "device")
	retry(t, func() bool { return src.Stats().Clients == 1 && src.stats.traffic.packets.Load() == 1 }) // after CONNACK
	before := src.Stats()
	was := reflect.ValueOf(&src.stats.traffic).Elem().Interface()
	for range 20 {
		if err := probe(t, src); err != nil {
			t.Fatal(err)
		}
	}
	retry(t, func() bool { // the last has gone
		b := serving(src)
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.probes == 0 && len(b.conns) == 1 && len(b.sessions) == 1 && len(b.hosts) == 1
	})
	if after := src.Stats(); after != before {
		t.Errorf("counted: %+v, before %+v", after, before)
	}
	if now := reflect.ValueOf(&src.stats.traffic).Elem().Interface(); !reflect.DeepEqual(now, was) {
		t.Errorf("counted: %+v, before %+v", now, was)
	}
	if stored, noted := custody.Stored(), custody.Noted(); len(stored)+len(noted) > 0 {
		t.Errorf("kept %v and %v", stored, noted)
	}
	if len(src.own.all) > 0 {
		t.Errorf("addresses of probes that are over: %v", src.own.all)
	}
	device.publish("d", `{"temp":21.5}`, 1, 1)
	device.expect(0x4, 1)
}

// Nobody who is subscribed to everything sees it.
func TestNobodyIsSentAProbe(t *testing.T) {
	src := start(t, instant(), Config{})
	reader := connect(t, src, 4, "reader")
	reader.subscribe(1, 1, "#")
	if err := probe(t, src); err != nil {
		t.Fatal(err)
	}
	reader.silent()
}

// trap 2 of TRAPS.md, and others like it: a lock that is never given back.
func TestADeadlockKeepsAProbeWaiting(t *testing.T) {
	for name, lock := range map[string]func(b *broker) sync.Locker{
		"sessions": func(b *broker) sync.Locker { return &b.mu },
		"claim":    func(b *broker) sync.Locker { return &b.claim },
		"memory":   func(b *broker) sync.Locker { return &b.memory.mu },
		"retained": func(b *broker) sync.Locker { return &b.retained.mu },
		"changes":  func(b *broker) sync.Locker { return &b.retained.change },
		"$SYS":     func(b *broker) sync.Locker { return &b.sys.mu },
		"index":    func(b *broker) sync.Locker { return b.server.Topics.Retained },
		"throttle": func(b *broker) sync.Locker { return &b.throttle.mu },
		"clients":  func(b *broker) sync.Locker { return b.server.Clients },
	} {
		t.Run(name, func(t *testing.T) {
			src := start(t, instant(), Config{})
			src.Addr(t.Context())
			stuck := lock(serving(src))
			stuck.Lock()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			err := src.Probe(ctx)
			stuck.Unlock()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if err := probe(t, src); err != nil {
				t.Errorf("when it is free again: %v", err)
			}
		})
	}
}

// All batches are with connections that never come back from custody.
func TestACustodyThatHangsKeepsAProbeWaiting(t *testing.T) {
	custody := &hanging{Custody: instant(), until: make(chan struct{})}
	src := start(t, custody, Config{})
	src.Addr(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := src.Probe(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	close(custody.until)
	if err := probe(t, src); err != nil {
		t.Error(err)
	}
}

// A listener whose address cannot be reached is none that hangs.
func TestAProbeComesInBehindAListenerThatItCannotReach(t *testing.T) {
	src := start(t, instant(), Config{})
	at := src.Addr(t.Context()).(*net.TCPAddr)
	for _, unreachable := range []net.Addr{
		&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: at.Port}, // an address that has gone
		&net.TCPAddr{IP: at.IP, Port: 1},                        // refused
		&net.UnixAddr{Name: "x", Net: "unix"},
	} {
		src.places.Shut()
		src.places.Open(unreachable)
		if err := probe(t, src); err != nil {
			t.Errorf("%v: %v", unreachable, err)
		}
	}
}

// While this process has no file descriptors, no device comes in, either.
func TestAProbeThatHasNoFileDescriptorFails(t *testing.T) {
	src := start(t, instant(), Config{})
	src.Addr(t.Context())
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	var less = syscall.Rlimit{Cur: 1, Max: was.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &less); err != nil {
		t.Fatal(err)
	}
	err := probe(t, src)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("got %v", err)
	}
}

func TestADoorThatIsNotOpenHasNoProbe(t *testing.T) {
	src := New(Config{Listen: "127.0.0.1:0", Routes: testRoutes(t)}, nil)
	if err := probe(t, src); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v", err)
	}
}

// Only an address that this process connects from is a probe's.
func TestNobodyElseIsTakenForAProbe(t *testing.T) {
	own := newOwnAddresses()
	own.add(netip.MustParseAddrPort("127.0.0.1:1"))
	for _, other := range []net.Addr{
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2},
		&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1},
		&net.TCPAddr{IP: net.IPv6loopback, Port: 1},
		&net.UnixAddr{Name: filepath.Join(t.TempDir(), "x"), Net: "unix"},
	} {
		if _, mine := own.claim(from{other}); mine {
			t.Errorf("%v is taken for a probe", other)
		}
	}
	for _, mine := range []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv4(127, 0, 0, 1).To16()} {
		own.add(netip.MustParseAddrPort("127.0.0.1:1"))
		for _, want := range []bool{true, false} { // whoever comes next is another
			if _, ok := own.claim(from{&net.TCPAddr{IP: mine, Port: 1}}); ok != want {
				t.Errorf("%v is taken for a probe: %v", mine, ok)
			}
		}
	}
}

// Something on the way gives a device the address that a probe comes from: what it sends
// must not be acknowledged, for nobody would keep it.
func TestADeviceFromTheAddressOfAProbeIsNoProbe(t *testing.T) {
	custody := instant()
	src := start(t, custody, Config{})
	at := src.Addr(t.Context())
	nc, err := (&net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			if mine, err := bindTo(int(fd), netip.MustParseAddr("127.0.0.1")); err == nil {
				src.own.add(mine)
			}
		})
	}}).DialContext(t.Context(), "tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := newClient(t, nc)
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: 4,
		Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: "d", Clean: true}})
	got := make([]byte, 4)
	if _, err := io.ReadFull(nc, got); err == nil && got[3] == 0 {
		t.Errorf("it is let in as a probe: %x", got)
	}
}

// from is a connection from an address.
type from struct{ address net.Addr }

func (f from) RemoteAddr() net.Addr             { return f.address }
func (f from) LocalAddr() net.Addr              { return f.address }
func (f from) Read([]byte) (int, error)         { return 0, io.EOF }
func (f from) Write([]byte) (int, error)        { return 0, io.EOF }
func (f from) Close() error                     { return nil }
func (f from) SetDeadline(time.Time) error      { return nil }
func (f from) SetReadDeadline(time.Time) error  { return nil }
func (f from) SetWriteDeadline(time.Time) error { return nil }

// A device that says what a probe says is a device.
func TestADeviceWithTheNameOfAProbeIsADevice(t *testing.T) {
	custody := instant()
	src := start(t, custody, Config{})
	c := connect(t, src, 4, fmt.Sprintf("tidegate-probe-%016x", 1))
	c.publish("p", `{"temp":21.5}`, 1, 1)
	c.expect(0x4, 1)
	if n := len(custody.Stored()); n != 1 {
		t.Errorf("%d readings stored, want 1", n)
	}
}

// hanging is custody that takes nothing and does not come back, until it does.
type hanging struct {
	*ingesttest.Custody
	until chan struct{}
}

// Accept implements ingest.Custody.
func (h *hanging) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	select {
	case <-h.until:
		return h.Custody.Accept(ctx, rs, notes...)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// told is custody that tells when something came.
type told struct {
	*ingesttest.Custody
	came chan struct{}
}

// Accept implements ingest.Custody.
func (c *told) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	defer func() { c.came <- struct{}{} }()
	return c.Custody.Accept(ctx, rs, notes...)
}
