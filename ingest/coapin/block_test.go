package coapin

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// szxOf is the inverse of block.size.
func szxOf(size int) byte {
	szx := byte(0)
	for 16<<szx < size {
		szx++
	}
	return szx
}

// step is a block as RFC 7959 writes them: 1:2/0/128.
type step struct {
	number uint32
	more   bool
	size   int
	answer code
}

// upload sends the blocks of a body, one after the other.
func (c *client) upload(body []byte, steps []step, path ...string) {
	c.Helper()
	for _, s := range steps {
		b := block{s.number, s.more, szxOf(s.size)}
		part := body[b.offset():min(len(body), b.offset()+b.size())]
		m := c.request(confirmable, put, path...).with(optBlock1, appendUint(nil, b.value())...).carrying(string(part))
		got := c.expect(m, s.answer)
		if echo, ok := got.value(optBlock1); s.answer.class() == 2 && (!ok || echo != b.value()) {
			c.Fatalf("%+v: Block1 %x in the answer", s, echo)
		}
	}
}

// The exchanges of RFC 7959 §3.3, where /options is given 128 bytes at a time.
// Every message has a token of its own.
func TestBodiesComeInBlocks(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 18) // 288 bytes
	for name, steps := range map[string][]step{
		"figure 7, simple atomic": {{0, true, 128, continued}, {1, true, 128, continued}, {2, false, 128, changed}},
		"figure 9, negotiation":   {{0, true, 128, continued}, {4, true, 32, continued}, {5, true, 32, continued}, {6, true, 32, continued}, {7, true, 32, continued}, {8, false, 32, changed}},
		"one block":               {{0, false, 512, changed}},
		"begun anew":              {{0, true, 128, continued}, {0, true, 128, continued}, {1, true, 128, continued}, {2, false, 128, changed}},
		"a block came again":      {{0, true, 128, continued}, {1, true, 128, continued}, {1, true, 128, continued}, {2, false, 128, changed}},
		"a block is missing":      {{0, true, 128, continued}, {2, false, 128, incomplete}, {1, true, 128, continued}, {2, false, 128, changed}},
		"a block is out of order": {{0, true, 128, continued}, {1, true, 128, continued}, {0, true, 128, continued}, {2, false, 128, incomplete}, {1, true, 128, continued}, {2, false, 128, changed}},
		"nobody knows the first":  {{1, true, 128, incomplete}, {0, true, 128, continued}, {1, true, 128, continued}, {2, false, 128, changed}},
	} {
		t.Run(name, func(t *testing.T) {
			custody := instant()
			s := start(t, custody, Config{})
			dial(t, plainAddr(t, s)).upload(body, steps, "raw", "options")
			all := custody.Taken(t, 1)
			if len(all) != 1 || all[0].Value != reading.Bytes(string(body)) {
				t.Errorf("got %+v", all)
			}
		})
	}
}

func TestBodyIsAcknowledgedWhenItIsOnFlash(t *testing.T) {
	custody := ingesttest.NewCustody()
	s := start(t, custody, Config{})
	c := dial(t, plainAddr(t, s))
	body := bytes.Repeat([]byte("x"), 100)
	c.upload(body, []step{{0, true, 64, continued}}, "raw", "a")
	last := c.request(confirmable, put, "raw", "a").with(optBlock1, 1<<4|2).carrying(string(body[64:]))
	c.send(last)
	custody.Taken(t, 1)
	c.send(last) // again
	c.caughtUp()
	c.nothing()
	custody.Commit()
	if got := c.receive(); got.code != changed || got.id != last.id {
		t.Errorf("got %+v", got)
	}
	if n := len(custody.Taken(t, 1)); n != 1 {
		t.Errorf("%d readings were taken", n)
	}
}

// Two bodies may come at the same time from one endpoint if anything tells them
// apart: path, query, method or Request-Tag.
func TestBodiesAreToldApart(t *testing.T) {
	custody := instant()
	s := start(t, custody, Config{})
	c := dial(t, plainAddr(t, s))
	other := dial(t, plainAddr(t, s))
	type part struct {
		c   *client
		msg func(block) message
	}
	of := func(c *client, method code, path string) func(block) message {
		return func(b block) message {
			return c.request(confirmable, method, "raw", path).with(optBlock1, appendUint(nil, b.value())...)
		}
	}
	query := func(b block) message {
		return c.request(confirmable, put, "raw", "a").with(optUriQuery, 'q').with(optBlock1, appendUint(nil, b.value())...)
	}
	tagged := func(tag byte) func(block) message {
		return func(b block) message { return of(c, put, "a")(b).with(optRequestTag, tag) }
	}
	parts := []part{{c, of(c, put, "a")}, {c, of(c, post, "a")}, {c, of(c, put, "b")}, {c, query}, {c, tagged('1')}, {c, tagged('2')}, {other, of(other, put, "a")}}
	for number := range uint32(3) {
		for i, p := range parts {
			b := block{number: number, more: number < 2}
			want := continued
			if !b.more {
				want = changed
			}
			p.c.expect(p.msg(b).carrying(fmt.Sprintf("part %d of body %d", number, i)), want)
		}
	}
	for i, r := range custody.Taken(t, len(parts)) {
		if want := fmt.Sprintf("part 0 of body %[1]dpart 1 of body %[1]dpart 2 of body %[1]d", i); r.Value.Text() != want {
			t.Errorf("got %q, want %q", r.Value.Text(), want)
		}
	}
}

func TestBlocksThatAreWrong(t *testing.T) {
	custody := instant()
	s := start(t, custody, Config{MaxBody: 100})
	c := dial(t, plainAddr(t, s))
	of := func(b block, payload int) message {
		return c.request(confirmable, put, "raw", "a").with(optBlock1, appendUint(nil, b.value())...).carrying(string(make([]byte, payload)))
	}
	c.expect(of(block{more: true}, 15), badRequest)
	c.expect(of(block{}, 17), badRequest)
	c.expect(c.request(confirmable, put, "raw", "a").with(optBlock1, 7).carrying("x"), badRequest)
	// Too large, as soon as that can be seen.
	for _, m := range []message{
		of(block{number: 0, more: true, szx: 3}, 128),
		of(block{number: 6, more: true}, 16),
		of(block{number: 1<<20 - 1, more: true, szx: 6}, 1024),
		of(block{more: true}, 16).with(optSize1, 101),
		c.request(confirmable, put, "raw", "a").carrying(string(make([]byte, 101))),
	} {
		got := c.expect(m, tooLarge)
		if size, ok := got.value(optSize1); !ok || size != 100 {
			t.Errorf("Size1 %d in the answer", size)
		}
	}
	// What is told of the format must not change.
	format := func(f byte, b block) message {
		m := c.request(confirmable, put, "raw", "a").with(optContentFormat, f)
		return m.with(optBlock1, appendUint(nil, b.value())...).carrying(string(make([]byte, 16)))
	}
	c.expect(format(42, block{more: true}), continued)
	c.expect(format(50, block{number: 1}), incomplete)
	if n := len(custody.Taken(t, 0)); n != 0 {
		t.Errorf("%d readings were taken", n)
	}
	c.expect(of(block{number: 0, szx: 2}, 64), changed)
}

func (s *bodies) sure(t *testing.T) {
	t.Helper()
	used := 0
	for key, b := range s.known {
		used += bodyOverhead + len(key.operation) + len(b.data)
	}
	if used != s.used || used > s.most {
		t.Fatalf("%d bytes are in use, counted %d, at most %d", used, s.used, s.most)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	const most = 4 * (bodyOverhead + 1 + 1024)
	s := newBodies(8<<10, most)
	now := time.Now()
	p := &endpoint{}
	add := func(name string, number uint32, more bool) code {
		t.Helper()
		r := request{format: noFormat, operation: []byte(name), block1: &block{number, more, maxSZX}}
		_, c, _ := s.add(p, &r, make([]byte, 1024), now)
		s.sure(t)
		return c
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		if c := add(name, 0, true); c != continued {
			t.Fatalf("%s: %v", name, c)
		}
	}
	if c := add("e", 0, true); c != notNow {
		t.Errorf("one too many: %v", c)
	}
	if c := add("a", 1, true); c != notNow || len(s.known) != 3 {
		t.Errorf("one that grows too large: %v, %d are left", c, len(s.known))
	}
	now = now.Add(bodyIdle + time.Second)
	if c := add("b", 1, true); c != continued { // its client lives
		t.Errorf("%v", c)
	}
	now = now.Add(time.Second)
	for i := range 3 {
		if c := add(fmt.Sprint("new", i), 0, true); c != continued && i < 2 {
			t.Errorf("there is room for those that live: %v", c)
		}
	}
	if c := add("c", 1, true); c != incomplete {
		t.Errorf("one that was given up goes on: %v", c)
	}
	if c := add("b", 2, false); c != changed {
		t.Errorf("one that lives was given up: %v", c)
	}
	now = now.Add(bodyLifetime + time.Second)
	s.expire(now, nil)
	if s.sure(t); len(s.known) != 0 || s.used != 0 {
		t.Errorf("%d are left", len(s.known))
	}
	add("x", 0, true)
	s.expire(now, p)
	if s.sure(t); len(s.known) != 0 {
		t.Error("the body of a session that is over is left")
	}
	add("y", 0, true)
	now = now.Add(bodyLifetime + time.Second)
	if c := add("y", 1, false); c != incomplete {
		t.Errorf("a body that is too old goes on: %v", c)
	}
}

// A gateway that is started anew knows nothing of what it was being sent.
func TestRestartInTheMiddleOfABody(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 18)
	custody := ingesttest.NewCustody()
	s, stop := run(t, custody, Config{})
	at := plainAddr(t, s)
	c := dial(t, at)
	c.upload(body, []step{{0, true, 128, continued}, {1, true, 128, continued}}, "raw", "a")
	last := c.request(confirmable, put, "raw", "a").with(optBlock1, 2<<4|3).carrying(string(body[256:]))
	c.send(last)
	custody.Taken(t, 1) // and no answer: its commit does not come to an end
	next := custody.Crash()
	stop()
	next.CommitAtOnce()
	start(t, next, Config{Listen: at.String()})
	c.send(last) // as a client does that hears nothing
	if got := c.receive(); got.code != incomplete || got.id != last.id {
		t.Fatalf("got %+v", got)
	}
	c.upload(body, []step{{0, true, 128, continued}, {1, true, 128, continued}, {2, false, 128, changed}}, "raw", "a")
	if all := next.Stored(); len(all) != 1 || all[0].Value != reading.Bytes(string(body)) {
		t.Errorf("stored %+v", all)
	}
}
