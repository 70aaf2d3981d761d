package wsout

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/internal/base/porttest"
)

// stifled is a connection that can be cut without either side being told: what
// is written vanishes, and nothing comes.
type stifled struct {
	net.Conn
	cut    *atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (s *stifled) Write(b []byte) (int, error) {
	if s.cut.Load() {
		return len(b), nil
	}
	return s.Conn.Write(b)
}

func (s *stifled) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if s.cut.Load() {
		<-s.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (s *stifled) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Conn.Close()
}

// stifle returns a sink whose connection can be cut.
func stifle(t *testing.T, cfg Config, fast times) (*Sink, *atomic.Bool) {
	t.Helper()
	cut := new(atomic.Bool)
	sink := newSink(t, cfg)
	dial := sink.cfg.Dial
	sink.cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return &stifled{Conn: conn, cut: cut, closed: make(chan struct{})}, err
	}
	sink.times = fast
	return sink, cut
}

func (s *Sink) current() *line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.line
}

// A connection on which nothing comes back any more is found out long before the
// Forwarder's patience ends, with a message under way and without.
func TestHalfOpenConnectionIsFoundOut(t *testing.T) {
	answer := func(c *websocket.Conn, key string, _ []byte) { say(t, c, `{"acked":{%s}}`, spanOf(key)) }
	for name, c := range map[string]struct {
		ping time.Duration
		fast times
		send bool
	}{
		"WithAMessage": {time.Hour, times{silence: 50 * time.Millisecond, pong: time.Second, slowest: 1 << 30, farewell: time.Second}, true},
		"Idle":         {50 * time.Millisecond, times{silence: time.Hour, pong: time.Second, slowest: 1 << 30, farewell: time.Second}, false},
	} {
		t.Run(name, func(t *testing.T) {
			sink, cut := stifle(t, Config{URL: "ws://" + peer(t, answer), Ping: c.ping}, c.fast)
			if err := sink.Send(within(t), message(1, 10)); err != nil {
				t.Fatal(err)
			}
			l := sink.current()
			cut.Store(true)
			if c.send {
				err := sink.send(within(t), message(2, 10))
				if classOf(err) != transient || !strings.Contains(err.Error(), "no pong") {
					// The first try has found it out, and the second met the same.
					t.Errorf("got %v", err)
				}
			}
			select {
			case <-l.ended:
			case <-time.After(patience):
				t.Fatal("nobody has noticed")
			}
			cut.Store(false)
			if err := sink.Send(within(t), message(2, 10)); err != nil {
				t.Error(err)
			}
		})
	}
}

// The other side may take its time as long as it answers pings.
func TestSlowCloudIsNotADeadOne(t *testing.T) {
	release := make(chan struct{})
	var connections atomic.Int32
	sink := newSink(t, Config{URL: "ws://" + peer(t, func(c *websocket.Conn, key string, _ []byte) {
		<-release
		say(t, c, `{"acked":{%s}}`, spanOf(key))
	})})
	sink.cfg.Dial = counting(sink.cfg.Dial, &connections)
	sink.times = times{silence: 20 * time.Millisecond, pong: patience, slowest: 1 << 30, farewell: time.Second}
	sent := make(chan error, 1)
	go func() { sent <- sink.Send(within(t), message(1, 10)) }()
	select {
	case err := <-sent:
		t.Errorf("given up: %v", err)
	case <-time.After(300 * time.Millisecond): // fifteen times its silence
	}
	close(release)
	if err := <-sent; err != nil || connections.Load() != 1 {
		t.Errorf("%v, %d connections", err, connections.Load())
	}
}

// The more is under way, the longer a slow link may take: the bound is stated in
// the reference.
func TestPatienceGrowsWithWhatIsUnderWay(t *testing.T) {
	l := &line{times: usualTimes(), ping: time.Minute}
	if got := l.patience(); got != time.Minute {
		t.Errorf("idle: %v", got)
	}
	l.waiting = []*waiter{{size: 3 << 10}, {size: 2 << 10}}
	if got := l.patience(); got != 15*time.Second {
		t.Errorf("with 5 KiB: %v", got)
	}
	l.waiting, l.ping = nil, -1
	if got := l.patience(); got != never {
		t.Errorf("without pings: %v", got)
	}
}

// A message that ran out of time while others were answered has not found a dead
// connection.
func TestLateAnswerDoesNotEndTheConnection(t *testing.T) {
	var connections atomic.Int32
	first := make(chan struct{}, 1)
	sink := newSink(t, Config{URL: "ws://" + peer(t, func(c *websocket.Conn, key string, _ []byte) {
		if strings.HasSuffix(key, "/1-1") {
			first <- struct{}{}
			return
		}
		say(t, c, `{"acked":{%s}}`, spanOf(key))
	})})
	sink.cfg.Dial = counting(sink.cfg.Dial, &connections)
	ctx, cancel := context.WithCancel(within(t))
	sent := make(chan error, 1)
	go func() { sent <- sink.Send(ctx, message(1, 10)) }()
	<-first
	if err := sink.Send(within(t), message(2, 10)); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-sent; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "hint: ") {
		t.Errorf("got %v", err)
	}
	if err := sink.Send(within(t), message(3, 10)); err != nil || connections.Load() != 1 {
		t.Errorf("%v, %d connections", err, connections.Load())
	}
}

func TestConnectionErrorsEndInAHint(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of our refusal
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := serve(t, http.NotFound)
	noise, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { noise.Close() })
	go func() {
		for {
			c, err := noise.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "220 smtp.example ESMTP\r\n")
			c.Close()
		}
	}()
	late := x509.NewCertPool()
	late.AddCert(secure.Certificate())
	for _, c := range []struct {
		name, url, want string
		tls             *tls.Config
	}{
		{"Refused", "ws://" + porttest.For(t), "nothing listens", nil},
		{"NotTLS", "wss://" + plain, "does not speak TLS", nil},
		{"UnknownAuthority", strings.Replace(secure.URL, "https", "wss", 1), "install its CA", nil},
		{"Expired", strings.Replace(secure.URL, "https", "wss", 1), "the clock of this gateway", &tls.Config{RootCAs: late, Time: func() time.Time { return time.Now().AddDate(100, 0, 0) }}},
		{"AnotherHost", strings.Replace(secure.URL, "https", "wss", 1), "for another host", &tls.Config{RootCAs: late, ServerName: "cloud.invalid"}},
		{"NoWebServer", "ws://" + noise.Addr().String(), "web server", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := newSink(t, Config{URL: c.url, TLS: c.tls}).Send(within(t), message(1, 10))
			if classOf(err) != transient || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want a hint with %q", err, c.want)
			}
		})
	}
	// And with the right authority the handshake gets as far as the status.
	sink := newSink(t, Config{URL: strings.Replace(secure.URL, "https", "wss", 1), TLS: &tls.Config{RootCAs: late}})
	if err := sink.Send(within(t), message(1, 10)); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v", err)
	}
}

// A server that accepts connections and says nothing holds nobody longer than he
// wants to wait.
func TestMuteServerHoldsNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	sink := newSink(t, Config{URL: "ws://" + l.Addr().String()})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	errs := make(chan error, 4)
	for i := range cap(errs) {
		go func() { errs <- sink.Send(ctx, message(i, 10)) }()
	}
	for range cap(errs) {
		if err := <-errs; classOf(err) != transient || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("got %v", err)
		}
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("it took %v", took)
	}
}
