package natsout

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// fakeServer is a server whose answers a test decides on. It speaks just enough of
// the protocol to be published to.
type fakeServer struct {
	info   string                       // keys of INFO, beside those that it always has
	answer func(c *fakeConn, p publish) // to every HPUB, each in a goroutine of its own
	pong   func(c *fakeConn)            // nil: PONG
	tasks  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	total int // connections so far
}

// publish is one HPUB.
type publish struct {
	subject, reply string
	header         textproto.MIMEHeader
	body           []byte
}

type fakeConn struct {
	net.Conn
	mu    sync.Mutex
	sid   string // of the subscription to answers
	login map[string]any
}

// say writes lines.
func (c *fakeConn) say(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c, format, args...) // whoever has gone hears nothing
}

// reply answers a publish.
func (c *fakeConn) reply(p publish, body string) {
	c.say("MSG %s %s %d\r\n%s\r\n", p.reply, c.sid, len(body), body)
}

// confirm is the answer of a stream.
func (c *fakeConn) confirm(p publish) { c.reply(p, `{"stream":"TELEMETRY","seq":7}`) }

// serve starts the server and returns its address.
func (s *fakeServer) serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.conns = map[net.Conn]struct{}{}
	s.tasks.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[raw] = struct{}{}
			s.total++
			s.mu.Unlock()
			s.tasks.Go(func() { s.talk(&fakeConn{Conn: raw}) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.hangUp()
		s.tasks.Wait()
	})
	return l.Addr().String()
}

// hangUp closes all connections.
func (s *fakeServer) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

func (s *fakeServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

func (s *fakeServer) talk(c *fakeConn) {
	defer c.Close()
	extra := s.info
	if extra == "" {
		extra = `"max_payload":1048576`
	}
	c.say("INFO {\"server_id\":\"FAKE\",\"version\":\"2.10.0\",\"headers\":true,\"jetstream\":true,%s}\r\n", extra)
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		if len(words) == 0 {
			return
		}
		switch words[0] {
		case "CONNECT":
			if json.Unmarshal([]byte(strings.TrimPrefix(line, "CONNECT ")), &c.login) != nil {
				return
			}
		case "PING":
			if s.pong != nil {
				s.pong(c)
				continue
			}
			c.say("PONG\r\n")
		case "SUB":
			c.sid = words[len(words)-1]
		case "HPUB":
			p, err := readPublish(in, words)
			if err != nil {
				return
			}
			s.tasks.Go(func() { s.answer(c, p) })
		}
	}
}

// readPublish reads what follows HPUB subject reply headers total.
func readPublish(in *bufio.Reader, words []string) (publish, error) {
	if len(words) != 5 {
		return publish{}, fmt.Errorf("%v is no publish with a reply", words)
	}
	head, err := strconv.Atoi(words[3])
	total, err2 := strconv.Atoi(words[4])
	if err != nil || err2 != nil {
		return publish{}, fmt.Errorf("%v: %v %v", words, err, err2)
	}
	all := make([]byte, total+2)
	if _, err := io.ReadFull(in, all); err != nil {
		return publish{}, err
	}
	_, lines, _ := strings.Cut(string(all[:head]), "\r\n")
	header, err := textproto.NewReader(bufio.NewReader(strings.NewReader(lines))).ReadMIMEHeader()
	return publish{words[1], words[2], header, all[head:total]}, err
}

// peer is a server that answers as judge says.
func peer(t *testing.T, judge uplinktest.Judge) string {
	s := &fakeServer{answer: func(c *fakeConn, p publish) {
		key := p.header.Get(KeyHeader)
		if id := p.header.Get(idHeader); id != key {
			t.Errorf("%s is %q and %s is %q", idHeader, id, KeyHeader, key)
		}
		switch judge(uplinktest.Received{Key: key, Body: p.body}) {
		case uplinktest.Accept:
			c.confirm(p)
		case uplinktest.Later:
			c.reply(p, `{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"},"stream":"FAKE","seq":0}`)
		case uplinktest.Never:
			c.reply(p, `{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"},"stream":"FAKE","seq":0}`)
		case uplinktest.Garbage:
			c.reply(p, "+ACK")
		}
	}}
	return s.serve(t)
}
