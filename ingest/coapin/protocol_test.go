package coapin

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

func TestWhatComesAgainIsAnsweredAgain(t *testing.T) {
	for _, k := range []kind{confirmable, nonConfirmable} {
		custody := ingesttest.NewCustody()
		s := start(t, custody, Config{})
		c := dial(t, plainAddr(t, s))
		m := c.request(k, post, "d").carrying("1")
		for range 3 {
			c.send(m)
		}
		custody.Taken(t, 1)
		c.caughtUp()
		c.nothing()
		custody.Commit()
		first := c.receive()
		again := c.do(m)
		if first.code != changed || !same(first, again) {
			t.Errorf("got %+v, then %+v", first, again)
		}
		if n := len(custody.Taken(t, 1)); n != 1 {
			t.Errorf("%d readings were taken", n)
		}
		if n := s.Stats().Repeated; n != 3 {
			t.Errorf("counted %d", n)
		}
	}
}

// A device that has been restarted may begin with the message IDs that it had
// before, from the same port. What it says then is new.
func TestTheSameMessageIDForSomethingElseIsNew(t *testing.T) {
	custody := instant()
	s := start(t, custody, Config{})
	c := dial(t, plainAddr(t, s))
	m := c.request(confirmable, post, "d")
	for i := range 3 {
		c.expect(m.carrying(fmt.Sprint(i)), changed)
	}
	if n := len(custody.Taken(t, 3)); n != 3 {
		t.Errorf("%d readings were taken", n)
	}
}

func TestRefusalsAreAnsweredAgain(t *testing.T) {
	custody := ingesttest.NewCustody()
	custody.Refuse(ingest.ErrFull)
	s := start(t, custody, Config{})
	c := dial(t, plainAddr(t, s))
	m := c.request(confirmable, post, "d").carrying("1")
	if age, ok := c.expect(m, notNow).value(optMaxAge); !ok || age != whenFull {
		t.Errorf("Max-Age %d", age)
	}
	custody.Refuse(nil)
	custody.CommitAtOnce()
	c.expect(m, notNow) // the first answer may have arrived
	c.expect(c.request(confirmable, post, "d").carrying("1"), changed)
	if n := len(custody.Taken(t, 1)); n != 1 || s.Stats().NotStored != 1 {
		t.Errorf("%d readings, %+v", n, s.Stats())
	}
}

func TestFailedCommitIsTold(t *testing.T) {
	custody := ingesttest.NewCustody()
	s := start(t, custody, Config{})
	c := dial(t, plainAddr(t, s))
	c.send(c.request(confirmable, post, "d").carrying("1"))
	custody.Taken(t, 1)
	custody.Fail(errors.New("disk is gone"))
	got := c.receive()
	if age, ok := got.value(optMaxAge); got.code != notNow || !ok || age != whenBroken {
		t.Errorf("got %+v", got)
	}
}

func TestTooMuchAtOnceIsToldToWait(t *testing.T) {
	custody := ingesttest.NewCustody()
	s := start(t, custody, Config{MaxWaiting: 2})
	c := dial(t, plainAddr(t, s))
	c.send(c.request(confirmable, post, "d").carrying("1"))
	c.send(c.request(confirmable, post, "d").carrying("2"))
	custody.Taken(t, 2)
	if age, ok := c.expect(c.request(confirmable, post, "d").carrying("3"), notNow).value(optMaxAge); !ok || age != whenBusy {
		t.Errorf("Max-Age %d", age)
	}
	custody.Commit()
	for range 2 {
		if got := c.receive(); got.code != changed {
			t.Errorf("got %+v", got)
		}
	}
	custody.CommitAtOnce()
	c.expect(c.request(confirmable, post, "d").carrying("3"), changed)
}

func TestEachRequestHasItsAnswer(t *testing.T) {
	s := start(t, instant(), Config{})
	c := dial(t, plainAddr(t, s))
	for name, tt := range map[string]struct {
		m    message
		want code
	}{
		"no path":              {c.request(confirmable, post).carrying("1"), notFound},
		"the broker's own":     {c.request(confirmable, post, "$SYS", "x").carrying("1"), notFound},
		"control characters":   {c.request(confirmable, post, "a\nb").carrying("1"), badRequest},
		"wildcards":            {c.request(confirmable, post, "a", "+", "#").carrying("1"), notFound},
		"well known":           {c.request(confirmable, post, ".well-known", "core").carrying("1"), notFound},
		"delete":               {c.request(confirmable, 4, "d"), notAllowed},
		"fetch":                {c.request(confirmable, 5, "d"), notAllowed},
		"ipatch":               {c.request(confirmable, 7, "d"), notAllowed},
		"no such method":       {c.request(confirmable, 31, "d"), notAllowed},
		"get":                  {c.request(confirmable, get, "d"), notAllowed},
		"observe":              {c.request(confirmable, get).with(6, 0).with(optUriPath, 'd'), notAllowed},
		"dropped":              {c.request(confirmable, post, "picky", "d").carrying("no JSON"), badRequest},
		"unknown option":       {c.request(confirmable, post, "d").with(2049, 1).carrying("1"), badOption},
		"elective option":      {c.request(confirmable, post, "d").with(2048, 1).carrying("1"), changed},
		"proxy":                {c.request(confirmable, post, "d").with(optProxyUri, 'x').carrying("1"), noProxy},
		"unacceptable list":    {c.request(confirmable, get, ".well-known", "core").with(optAccept, 50), notAccept},
		"acceptable list":      {c.request(confirmable, get, ".well-known", "core").with(optAccept, 40), content},
		"no such block of it":  {c.request(confirmable, get, ".well-known", "core").with(optBlock2, 0x10, 0x06), badRequest},
		"without a token":      {message{kind: confirmable, code: post, id: 7, options: []option{{optUriPath, []byte("d")}}, payload: []byte("1")}, changed},
		"with the longest":     {message{kind: confirmable, code: post, id: 8, token: []byte("12345678"), options: []option{{optUriPath, []byte("d")}}, payload: []byte("1")}, changed},
		"not confirmable":      {c.request(nonConfirmable, delete8, "d"), notAllowed},
		"not confirmable, get": {c.request(nonConfirmable, get, ".well-known", "core"), content},
	} {
		c.TB = t
		got := c.do(tt.m)
		if got.code != tt.want {
			t.Errorf("%s: got %v %q, want %v", name, got.code, got.payload, tt.want)
		}
		if got.code == badRequest && len(got.payload) == 0 {
			t.Errorf("%s: no words", name)
		}
	}
}

const delete8 code = 4

func TestMessagesThatAreNoRequests(t *testing.T) {
	s := start(t, instant(), Config{})
	c := dial(t, plainAddr(t, s))
	for name, text := range map[string]string{
		"ping":                        "40000007",
		"response":                    "40440007",
		"reserved class":              "40200007",
		"format error":                "40020007 ff",
		"unknown option, unconfirmed": "51020007 01 d1f401 b130",
	} {
		c.sendBytes(unhex(t, text))
		if got := c.receive(); got.kind != reset || got.code != empty || got.id != 7 {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	for name, text := range map[string]string{
		"another version":           "80020007",
		"too short":                 "4002",
		"acknowledgement":           "60000007",
		"reset":                     "70000007",
		"format error, unconfirmed": "50020007 ff",
		"empty, unconfirmed":        "50000007",
		"request in an answer":      "60020007 b130",
	} {
		c.sendBytes(unhex(t, text))
		if m, err := c.receiveWithin(10 * time.Millisecond); err == nil {
			t.Errorf("%s: got %+v", name, m)
		}
	}
	c.expect(c.request(confirmable, post, "d").carrying("1"), changed)
}

func TestAnswersThatNobodyWants(t *testing.T) {
	custody := instant()
	s := start(t, custody, Config{})
	c := dial(t, plainAddr(t, s))
	c.send(c.request(nonConfirmable, post, "d").with(optNoResponse, 2).carrying("1"))
	custody.Taken(t, 1)
	c.nothing()
	c.send(c.request(confirmable, post, "d").with(optNoResponse, 2).carrying("2"))
	if got := c.receive(); got.kind != acknowledgement || got.code != empty || got.id != c.id || len(custody.Taken(t, 2)) != 2 {
		t.Errorf("got %+v", got)
	}
	c.expect(c.request(confirmable, post, "picky", "d").with(optNoResponse, 2).carrying("no JSON"), badRequest)
	c.expect(c.request(confirmable, post, "d").with(optNoResponse, 24).carrying("3"), changed)
}

func TestTheFormatChoosesTheDecoder(t *testing.T) {
	custody := instant()
	s := start(t, custody, Config{Formats: map[Format]decode.Decoder{Octets: decode.Raw{}, Text: decode.Raw{}}})
	c := dial(t, plainAddr(t, s))
	text, number := reading.Bytes("1"), reading.Float(1)
	for i, tt := range []struct {
		format []byte
		want   reading.Value
	}{{nil, number}, {[]byte{42}, text}, {[]byte{}, text}, {[]byte{50}, number}, {[]byte{0xff, 0xff}, number}} {
		m := c.request(confirmable, post, "a", "d")
		if i > 0 {
			m = m.with(optContentFormat, tt.format...)
		}
		c.expect(m.carrying("1"), changed)
		if got := custody.Taken(t, i+1)[i]; got.Value.Text() != tt.want.Text() {
			t.Errorf("format %x: got %+v", tt.format, got)
		}
	}
}

func TestWhoIsTooFastIsNotHeard(t *testing.T) {
	custody := instant()
	s := start(t, custody, Config{MaxRate: 5})
	c := dial(t, plainAddr(t, s))
	for range 50 {
		c.send(c.request(confirmable, post, "d").carrying("1"))
	}
	other := dial(t, plainAddr(t, s))
	other.expect(other.request(confirmable, post, "d").carrying("1"), changed)
	if n := len(custody.Taken(t, 6)); n > 10 || s.Stats().Slowed < 40 {
		t.Errorf("%d readings, %+v", n, s.Stats())
	}
}

// The figures 2 to 4 of RFC 7959, on the list of paths.
func TestListComesInBlocks(t *testing.T) {
	s := start(t, instant(), Config{})
	c := dial(t, plainAddr(t, s))
	for i := range 20 {
		c.expect(c.request(confirmable, post, "hall", fmt.Sprint(i)).carrying("1"), changed)
	}
	var whole []byte
	for _, szxs := range [][2]byte{{6, 6}, {3, 3}, {2, 2}, {3, 2}, {0, 0}} { // first, later
		var body []byte
		for more := true; more; {
			szx := szxs[min(1, len(body))]
			m := c.request(confirmable, get, ".well-known", "core")
			m = m.with(optBlock2, appendUint(nil, block{number: uint32(len(body) >> (szx + 4)), szx: szx}.value())...)
			got := c.expect(m, content)
			value, _ := got.value(optBlock2)
			b, _ := parseBlock(appendUint(nil, value))
			if b.offset() != len(body) || b.szx != szx || b.more && len(got.payload) != b.size() {
				t.Fatalf("block %+v with %d bytes after %d", b, len(got.payload), len(body))
			}
			body, more = append(body, got.payload...), b.more
		}
		if whole == nil {
			whole = body
		}
		if !bytes.Equal(body, whole) || !bytes.Contains(whole, []byte(`,</hall/19>;rt="tidegate.readings"`)) {
			t.Errorf("got %s", body)
		}
	}
	if first := c.do(c.request(confirmable, get, ".well-known", "core")); len(first.payload) > 1024 {
		t.Errorf("%d bytes at once", len(first.payload))
	}
}

// Nobody can have the door send more than three times what they send, to an
// address that may not be theirs.
func TestAnswersAreNotMuchLargerThanWhatIsAsked(t *testing.T) {
	custody := instant()
	s := start(t, custody, Config{})
	c := dial(t, plainAddr(t, s))
	c.expect(c.request(confirmable, post, "a-rather-long-name-of-a-device").carrying("1"), changed)
	v := newServer(s, ingest.NewIntake(custody, nil, time.Now))
	v.targets.listed["a-rather-long-name-of-a-device"] = true
	sent := &recorder{}
	far := plainAddr(t, s) // any address, which is not trusted
	for _, m := range []message{
		c.request(confirmable, get, ".well-known", "core"),
		c.request(nonConfirmable, get, ".well-known", "core"),
		c.request(confirmable, get, ".well-known", "core").with(optBlock2, 6),
		c.request(confirmable, get, "x"),
		c.request(confirmable, 31, "x"),
		c.request(confirmable, post, "picky", "x").carrying("["),
		c.request(confirmable, post).with(2049),
		c.request(confirmable, put, "x").with(optBlock1, 0x1e),
		{kind: confirmable},
	} {
		p := newEndpoint(destination{addr: far}, sent)
		p.trusted = false
		b := m.appendTo(nil)
		v.take(t.Context(), b, origin{peer: p, at: p.destination, out: sent})
		if len(sent.last) == 0 || len(sent.last) > amplification*len(b) {
			t.Errorf("%x: answered with %d bytes to %d", b, len(sent.last), len(b))
		}
	}
}

// recorder is a carrier that goes nowhere.
type recorder struct{ last []byte }

func (r *recorder) send(b []byte, _ destination) { r.last = bytes.Clone(b) }

// mostly is a filter that lets a reading pass when its value has changed.
type mostly struct {
	mu   sync.Mutex
	last reading.Value
}

func (m *mostly) Refine(dst []reading.Reading, first int, _ int64) []reading.Reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := dst[:first]
	for _, r := range dst[first:] {
		if r.Value != m.last {
			kept, m.last = append(kept, r), r.Value
		}
	}
	return kept
}

func (m *mostly) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = reading.Value{}
}

// A reading that was filtered out leans on one that may be on its way still.
func TestFilteredReadingsWaitForWhatTheyLeanOn(t *testing.T) {
	filter := new(mostly)
	json := decode.NewJSON(decode.JSONConfig{})
	table, err := route.NewTable([]route.Rule{{Topic: "#", Decoder: json, Refine: filter}}, json)
	if err != nil {
		t.Fatal(err)
	}
	custody := ingesttest.NewCustody()
	intake := ingest.NewIntake(custody, nil, time.Now)
	intake.OnLoss(filter.Forget)
	s := newSource(t, Config{Routes: table})
	runSource(t, intake, s)
	c := dial(t, plainAddr(t, s))
	send := func() {
		t.Helper()
		for range 2 {
			c.send(c.request(confirmable, post, "d").carrying("1"))
		}
		c.caughtUp()
		c.nothing()
	}
	answered := func(want code) {
		t.Helper()
		for i := range 2 {
			if got := c.receive(); got.code != want || got.id != c.id-2+uint16(i) {
				t.Errorf("got %v for %d, want %v", got.code, got.id, want)
			}
		}
	}
	send()
	custody.Taken(t, 1)
	custody.Fail(errors.New("disk is gone"))
	answered(notNow)
	send() // the filter knows
	custody.Taken(t, 2)
	custody.Commit()
	answered(changed)
	c.expect(c.request(confirmable, post, "d").carrying("1"), changed)
}
