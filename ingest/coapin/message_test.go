package coapin

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// The messages of RFC 7252, appendix A, and some of their relatives.
var golden = map[string]struct {
	hex  string
	want message
}{
	"figure 16, request": {"40017d34 bb 74656d7065726174757265", message{
		kind: confirmable, code: get, id: 0x7d34, options: []option{{optUriPath, []byte("temperature")}}}},
	"figure 16, response": {"60457d34 ff 32322e332043", message{
		kind: acknowledgement, code: content, id: 0x7d34, payload: []byte("22.3 C")}},
	"figure 17, request": {"41017d35 20 bb 74656d7065726174757265", message{
		kind: confirmable, code: get, id: 0x7d35, token: []byte{0x20}, options: []option{{optUriPath, []byte("temperature")}}}},
	"figure 17, response": {"61457d35 20 ff 32322e332043", message{
		kind: acknowledgement, code: content, id: 0x7d35, token: []byte{0x20}, payload: []byte("22.3 C")}},
	"figure 20, acknowledgement": {"60007d38", message{kind: acknowledgement, id: 0x7d38}},
	"figure 20, response": {"4145ad7b 53 ff 32322e332043", message{
		kind: confirmable, code: content, id: 0xad7b, token: []byte{0x53}, payload: []byte("22.3 C")}},
	"figure 23, response": {"5145ad7c 75 ff 32322e332043", message{
		kind: nonConfirmable, code: content, id: 0xad7c, token: []byte{0x75}, payload: []byte("22.3 C")}},
	"reset": {"70007d39", message{kind: reset, id: 0x7d39}},
	"longest token": {"48020001 0102030405060708", message{
		kind: confirmable, code: post, id: 1, token: []byte{1, 2, 3, 4, 5, 6, 7, 8}}},
	"option with one more byte for each": {"40020001 dd 2f00 61626364656667686970717273", message{
		kind: confirmable, code: post, id: 1, options: []option{{60, []byte("abcdefghipqrs")}}}},
	"option with two more bytes for each": {"40020001 ee 0000 0000" + strings.Repeat("61", 269), message{
		kind: confirmable, code: post, id: 1, options: []option{{269, bytes.Repeat([]byte("a"), 269)}}}},
	"options that repeat": {"40030001 b1 61 01 62 11 32", message{
		kind: confirmable, code: put, id: 1, options: []option{{11, []byte("a")}, {11, []byte("b")}, {12, []byte("2")}}}},
	"option without a value": {"40030001 c0 ff 61", message{
		kind: confirmable, code: put, id: 1, options: []option{{12, []byte{}}}, payload: []byte("a")}},
	"payload that looks like an option": {"40030001 ff ff", message{kind: confirmable, code: put, id: 1, payload: []byte{0xff}}},
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessagesAreWhatTheStandardShows(t *testing.T) {
	for name, g := range golden {
		b := unhex(t, g.hex)
		var got message
		if err := got.parse(b); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !same(got, g.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, g.want)
		}
		if again := g.want.appendTo(nil); !bytes.Equal(again, b) {
			t.Errorf("%s: got %x, want %x", name, again, b)
		}
	}
}

// same compares messages, empty being no different from absent.
func same(a, b message) bool {
	for _, m := range []*message{&a, &b} {
		m.token, m.payload = append([]byte{}, m.token...), append([]byte{}, m.payload...)
		m.options = append([]option{}, m.options...)
	}
	return reflect.DeepEqual(a, b)
}

func TestWhatIsNoMessageIsTold(t *testing.T) {
	for text, want := range map[string]error{
		"":                                errNoMessage,
		"400100":                          errNoMessage,
		"00010001":                        errNoMessage, // version 0
		"80010001":                        errNoMessage, // version 2
		"49010001" + "010203040506070809": errFormat,    // token of 9 bytes
		"4f010001":                        errFormat,
		"42010001 01":                     errFormat, // token is cut
		"41000001 01":                     errFormat, // empty message with a token
		"40000001 ff 01":                  errFormat,
		"40010001 ff":                     errFormat, // marker without a payload
		"40010001 f0":                     errFormat, // reserved delta
		"40010001 0f":                     errFormat, // reserved length
		"40010001 d0":                     errFormat, // delta is cut
		"40010001 e000":                   errFormat,
		"40010001 0d":                     errFormat, // length is cut
		"40010001 0e00":                   errFormat,
		"40010001 b5 61":                  errFormat, // value is cut
		"40010001 e0ffff":                 errFormat, // option 65804
		"40010001 e0fef2 10":              errFormat, // option 65535, and one more
	} {
		var m message
		err := m.parse(unhex(t, text))
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
		if want == errFormat && (m.id != 1 || m.kind != confirmable) {
			t.Errorf("%s: nobody can be told", text)
		}
	}
	var m message
	if err := m.parse(unhex(t, "40010001 e0fef2")); err != nil || m.options[0].number != 0xFFFF {
		t.Errorf("the last option: %v, %+v", err, m)
	}
}

func FuzzMessage(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(f, g.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m message
		if err := m.parse(b); err != nil {
			return
		}
		if len(m.options) > len(b) {
			t.Fatalf("%d options in %d bytes", len(m.options), len(b))
		}
		size := headerSize + len(m.token) + len(m.payload)
		for i, o := range m.options {
			size += 1 + len(o.value)
			if i > 0 && o.number < m.options[i-1].number {
				t.Fatalf("options are not in order: %+v", m.options)
			}
		}
		if size > len(b) {
			t.Fatalf("%d bytes were made of %d", size, len(b))
		}
		again := m.appendTo(nil)
		if len(again) > len(b) {
			t.Fatalf("%x became %x", b, again) // lengths may be written in more bytes than they need
		}
		var back message
		if err := back.parse(again); err != nil || !same(back, m) {
			t.Fatalf("%x: %v, got %+v, want %+v", again, err, back, m)
		}
	})
}

func FuzzRequest(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(f, g.hex))
	}
	blockwise := message{code: put, token: []byte{1}, options: []option{
		{optUriHost, []byte("h")}, {optUriPath, []byte("a")}, {optUriPath, []byte("b")}, {optContentFormat, []byte{50}},
		{optUriQuery, []byte("q=1")}, {optAccept, nil}, {optBlock2, []byte{6}}, {optBlock1, []byte{0x1e}}, {optSize1, []byte{9, 9}},
		{optNoResponse, []byte{2}}, {optRequestTag, []byte("x")},
	}, payload: bytes.Repeat([]byte("x"), 1024)}
	f.Add(blockwise.appendTo(nil))
	var r request // used again and again, as a worker does
	f.Fuzz(func(t *testing.T, b []byte) {
		var m message
		if err := m.parse(b); err != nil {
			return
		}
		c, why := r.read(&m)
		switch {
		case c == empty && why != "" || c != empty && why == "":
			t.Fatalf("%v says %q", c, why)
		case len(r.path) > len(b) || len(r.operation) > 3*len(b):
			t.Fatalf("%d bytes became %d of path, %d of operation", len(b), len(r.path), len(r.operation))
		case c == empty && r.block1 != nil && (r.block1.offset() < 0 || r.block1.size() > 1024):
			t.Fatalf("block %+v", *r.block1)
		}
	})
}

func TestRequestsAreRead(t *testing.T) {
	for name, tt := range map[string]struct {
		options []option
		code    code
		path    string
	}{
		"path":                       {[]option{{optUriPath, []byte("a")}, {optUriPath, []byte("b")}}, empty, "a/b"},
		"path with empty segments":   {[]option{{optUriPath, nil}, {optUriPath, []byte("b")}, {optUriPath, nil}}, empty, "/b/"},
		"no path":                    {nil, empty, ""},
		"path that is no text":       {[]option{{optUriPath, []byte("\xff")}}, badRequest, "\xff"},
		"path with a control":        {[]option{{optUriPath, []byte("a\x00")}}, badRequest, "a\x00"},
		"path that is too long":      {repeated(3, optUriPath, 200), badRequest, ""},
		"query that is too long":     {repeated(5, optUriQuery, 250), badRequest, ""},
		"unknown elective option":    {[]option{{2048, nil}}, empty, ""},
		"unknown critical option":    {[]option{{2049, nil}}, badOption, ""},
		"critical twice":             {[]option{{optAccept, nil}, {optAccept, nil}}, badOption, ""},
		"elective twice":             {[]option{{optContentFormat, []byte{50}}, {optContentFormat, []byte{60}}}, empty, ""},
		"critical that is too long":  {[]option{{optBlock1, make([]byte, 4)}}, badOption, ""},
		"elective that is too long":  {[]option{{optContentFormat, make([]byte, 3)}}, empty, ""},
		"precondition":               {[]option{{1, []byte("x")}}, badOption, ""},
		"oscore":                     {[]option{{9, []byte("x")}}, badOption, ""},
		"q-block":                    {[]option{{19, []byte("x")}}, badOption, ""},
		"proxy":                      {[]option{{optProxyUri, []byte("coap://h/")}}, noProxy, ""},
		"proxy scheme":               {[]option{{optProxyScheme, []byte("coap")}}, noProxy, ""},
		"reserved block size":        {[]option{{optBlock1, []byte{7}}}, badRequest, ""},
		"reserved block size, other": {[]option{{optBlock2, []byte{7}}}, badRequest, ""},
	} {
		var r request
		c, why := r.read(&message{code: post, options: tt.options})
		if c != tt.code || (why == "") != (c == empty) {
			t.Errorf("%s: got %v %q, want %v", name, c, why, tt.code)
		}
		if tt.path != "" && string(r.path) != tt.path {
			t.Errorf("%s: path %q, want %q", name, r.path, tt.path)
		}
	}
	var r request
	r.read(&message{options: []option{{optContentFormat, []byte{0x2d, 0x16}}, {optAccept, []byte{40}}, {optSize1, []byte{1, 0}}, {optNoResponse, []byte{26}}}})
	if r.format != 11542 || r.accept != 40 || r.size1 != 256 || r.mute != 26 {
		t.Errorf("%+v", r)
	}
	r.read(&message{})
	if r.format != noFormat || r.accept != noFormat || r.block1 != nil {
		t.Errorf("%+v", r)
	}
}

func repeated(n int, number uint16, size int) []option {
	var all []option
	for range n {
		all = append(all, option{number, bytes.Repeat([]byte("x"), size)})
	}
	return all
}

func TestUnsignedIntegers(t *testing.T) {
	for n, want := range map[uint32]string{0: "", 1: "01", 255: "ff", 256: "0100", 1 << 24: "01000000", 1<<32 - 1: "ffffffff", 0x10000: "010000"} {
		got := appendUint(nil, n)
		if hex.EncodeToString(got) != want || uintValue(got) != n {
			t.Errorf("%d: got %x, which is %d", n, got, uintValue(got))
		}
	}
	if got := uintValue([]byte{0, 0, 1}); got != 1 {
		t.Errorf("with leading zeros: %d", got)
	}
}
