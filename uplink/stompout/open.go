package stompout

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// loginTimeout bounds everything from the dial to CONNECTED.
const loginTimeout = 30 * time.Second

// grace is what a heart-beat may come late by, beside one that is lost.
const grace = 5 * time.Second

// greeting is what a server says of itself in CONNECTED.
type greeting struct {
	server string
	beat   time.Duration // how often it wants to hear of us, 0: never
	life   time.Duration // how often it shows life, 0: never
}

// open connects and logs in.
func (s *Sink) open(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	wire, err := onelink.Open(ctx, onelink.Dial(s.cfg.Dial), s.cfg.Address, s.cfg.TLS)
	if err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { wire.Close() })
	ear := &listener{wire: wire}
	in := bufio.NewReader(ear)
	hello, err := s.logIn(wire, in)
	if !release() && (err == nil || wire.Fault() != nil) {
		err = fmt.Errorf("log in: %w — hint: the other side does not answer; does it speak STOMP?", context.Cause(ctx))
	}
	if err != nil {
		wire.Close()
		return nil, err
	}
	if hello.life > 0 {
		ear.limit = 2*hello.life + grace
	}
	return newLink(&s.cfg, wire, in, hello), nil
}

func (s *Sink) logIn(wire *onelink.Conn, in *bufio.Reader) (greeting, error) {
	beat := strconv.FormatInt(s.cfg.Heartbeat.Milliseconds(), 10)
	f := frame{command: connectCommand, headers: []header{
		{"accept-version", "1.2"}, {"host", s.cfg.Vhost}, {"heart-beat", beat + "," + beat},
	}}
	if s.cfg.Username != "" {
		f.headers = append(f.headers, header{"login", s.cfg.Username})
	}
	if !s.cfg.Password.IsZero() {
		f.headers = append(f.headers, header{"passcode", s.cfg.Password.Reveal()})
	}
	if _, err := wire.Write(f.append(nil)); err != nil {
		return greeting{}, fmt.Errorf("log in: %w", netfault.Explain(err))
	}
	answer, err := readFrame(in)
	switch {
	case errors.Is(err, errNotSTOMP):
		return greeting{}, fmt.Errorf("log in: %w — hint: the other side does not speak STOMP; check the port", err)
	case errors.Is(err, io.EOF):
		return greeting{}, errors.New("log in: the other side closed the connection without a word — hint: does it speak STOMP, and without TLS? Check the port")
	case err != nil:
		return greeting{}, fmt.Errorf("log in: %w", netfault.Explain(err))
	case answer.command == errorCommand:
		return greeting{}, fmt.Errorf("log in: %w", atLogin(judge(answer)))
	case answer.command != connectedCommand:
		return greeting{}, fmt.Errorf("log in: the answer is %s — hint: the other side does not speak STOMP; check the port", onelink.Quote(answer.command))
	case answer.get("version") != "1.2":
		err := fmt.Errorf("log in: the server speaks STOMP %s — hint: it must speak 1.2; use a newer one", onelink.Quote(answer.get("version")))
		return greeting{}, uplink.Misconfigured(err)
	}
	return s.greetingOf(answer)
}

// atLogin takes back what cannot be held against a message that was not sent.
func atLogin(err error) error {
	if uplink.IsPermanent(err) {
		return fmt.Errorf("%v", err)
	}
	return err
}

// greetingOf reads a CONNECTED, and settles the heart-beats: the slower of what
// one side can and the other one wants, none if either has none.
func (s *Sink) greetingOf(f *frame) (greeting, error) {
	g := greeting{server: strings.ReplaceAll(f.get("server"), "/", " ")}
	text := f.get("heart-beat")
	if text == "" {
		return g, nil
	}
	can, wants, _ := strings.Cut(text, ",")
	sx, err := strconv.ParseUint(strings.TrimSpace(can), 10, 31)
	sy, err2 := strconv.ParseUint(strings.TrimSpace(wants), 10, 31)
	if err = errors.Join(err, err2); err != nil {
		return g, fmt.Errorf("log in: %w: heart-beat %s — hint: does the other side speak STOMP?", errNotSTOMP, onelink.Quote(text))
	}
	if sx > 0 {
		g.life = max(time.Duration(sx)*time.Millisecond, s.cfg.Heartbeat)
	}
	if sy > 0 {
		// Early, because it comes late.
		g.beat = max(time.Duration(sy)*time.Millisecond, s.cfg.Heartbeat) * 4 / 5
	}
	return g, nil
}

// listener is the incoming side of a connection, which ends when it is silent for
// longer than limit; 0 is for ever.
type listener struct {
	wire  net.Conn
	limit time.Duration
}

func (e *listener) Read(p []byte) (int, error) {
	if e.limit > 0 {
		if err := e.wire.SetReadDeadline(time.Now().Add(e.limit)); err != nil {
			return 0, err
		}
	}
	return e.wire.Read(p)
}

// Probe connects and logs in over a connection of its own, sends nothing, and
// returns what the server says of itself.
func (s *Sink) Probe(ctx context.Context) (string, error) {
	l, err := s.open(ctx)
	if err != nil {
		return "", s.named(err)
	}
	defer l.Close()
	server := l.server
	if server == "" {
		server = "a server that does not say its name"
	}
	about := fmt.Sprintf("%s, STOMP 1.2, %s", strings.Trim(onelink.Quote(server), `"`), s.cfg.Destination)
	if caution := Caution(l.server, s.cfg.Destination.String()); caution != "" {
		about += "\n" + caution
	}
	return about, nil
}
