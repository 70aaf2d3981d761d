package stompout

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The frames of the specification, and what servers have been seen to send.
func TestFramesAreRead(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     frame
	}{
		{"Specification", "SEND\ndestination:/queue/a\ncontent-type:text/plain\n\nhello queue a\n\x00",
			frame{"SEND", []header{{"destination", "/queue/a"}, {"content-type", "text/plain"}}, []byte("hello queue a\n")}},
		{"RepeatedHeader", "MESSAGE\nfoo:World\nfoo:Hello\n\n\x00",
			frame{"MESSAGE", []header{{"foo", "World"}, {"foo", "Hello"}}, []byte{}}},
		{"Receipt", "RECEIPT\nreceipt-id:message-12345\n\n\x00", frame{"RECEIPT", []header{{"receipt-id", "message-12345"}}, []byte{}}},
		{"HeartBeatsBefore", "\n\r\n\n\nRECEIPT\nreceipt-id:1\n\n\x00", frame{"RECEIPT", []header{{"receipt-id", "1"}}, []byte{}}},
		{"CarriageReturns", "ERROR\r\nmessage:no\r\n\r\nbecause\x00", frame{"ERROR", []header{{"message", "no"}}, []byte("because")}},
		{"Escapes", `ERROR` + "\n" + `message:a\cb\\n\nc\rd` + "\n\n\x00", frame{"ERROR", []header{{"message", "a:b\\n\nc\rd"}}, []byte{}}},
		{"ColonInValue", "ERROR\nmessage:http://x:1\n\n\x00", frame{"ERROR", []header{{"message", "http://x:1"}}, []byte{}}},
		{"ZeroBytesInBody", "ERROR\ncontent-length:3\n\na\x00b\x00", frame{"ERROR", []header{{"content-length", "3"}}, []byte("a\x00b")}},
		{"ConnectedIsNotEscaped", `CONNECTED` + "\n" + `session:ID\cvm` + "\n\n\x00", frame{"CONNECTED", []header{{"session", `ID\cvm`}}, []byte{}}},
		{"EmptyValue", "ERROR\nmessage:\n\n\x00", frame{"ERROR", []header{{"message", ""}}, []byte{}}},
		{"RabbitMQ", "ERROR\nmessage:not_found\ncontent-type:text/plain\nversion:1.0,1.1,1.2\ncontent-length:43\n\nNOT_FOUND - no exchange 'nope' in vhost '/'\x00\n",
			frame{"ERROR", []header{{"message", "not_found"}, {"content-type", "text/plain"}, {"version", "1.0,1.1,1.2"}, {"content-length", "43"}},
				[]byte("NOT_FOUND - no exchange 'nope' in vhost '/'")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := readFrame(bufio.NewReader(strings.NewReader(c.in)))
			if err != nil {
				t.Fatal(err)
			}
			if got.command != c.want.command || !reflect.DeepEqual(got.headers, c.want.headers) || !bytes.Equal(got.body, c.want.body) {
				t.Errorf("%+v, want %+v", *got, c.want)
			}
		})
	}
}

func TestFirstOfRepeatedHeadersCounts(t *testing.T) {
	f := frame{headers: []header{{"foo", "World"}, {"foo", "Hello"}}}
	if got := f.get("foo"); got != "World" {
		t.Errorf("%q", got)
	}
}

func TestWhatIsNoFrameIsRefused(t *testing.T) {
	for name, in := range map[string]string{
		"HTTP":              "HTTP/1.1 400 Bad Request\r\n\r\n",
		"TLS":               "\x15\x03\x01\x00\x02\x02\x46\n",
		"LowerCase":         "receipt\n\n\x00",
		"NoColon":           "RECEIPT\nreceipt-id\n\n\x00",
		"NoName":            "RECEIPT\n:1\n\n\x00",
		"UnknownEscape":     "RECEIPT\nreceipt-id:\\t\n\n\x00",
		"HalfAnEscape":      "RECEIPT\nreceipt-id:1\\\n\n\x00",
		"NegativeLength":    "ERROR\ncontent-length:-1\n\n\x00",
		"LengthIsNoNumber":  "ERROR\ncontent-length:many\n\n\x00",
		"EnormousLength":    "ERROR\ncontent-length:2147483647\n\n\x00",
		"BodyGoesOn":        "ERROR\ncontent-length:1\n\nab\x00",
		"EndlessCommand":    strings.Repeat("A", maxHead+1),
		"EndlessHeaders":    "ERROR\n" + strings.Repeat("a:b\n", maxHead),
		"EndlessBody":       "ERROR\n\n" + strings.Repeat("a", maxBody+2),
		"EndlessWithLength": "ERROR\ncontent-length:262145\n\n" + strings.Repeat("a", maxBody+2),
	} {
		t.Run(name, func(t *testing.T) {
			f, err := readFrame(bufio.NewReader(strings.NewReader(in)))
			if !errors.Is(err, errNotSTOMP) {
				t.Errorf("%+v, %v", f, err)
			}
		})
	}
}

// A frame that ends too early is no frame, wherever it ends.
func TestCutFramesAreNotFrames(t *testing.T) {
	whole := "ERROR\nmessage:no\ncontent-length:4\n\nbody\x00"
	for n := range len(whole) {
		f, err := readFrame(bufio.NewReader(strings.NewReader(whole[:n])))
		if err == nil || errors.Is(err, errNotSTOMP) {
			t.Errorf("%q: %+v, %v", whole[:n], f, err)
		}
		if n > 7 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", whole[:n], err)
		}
	}
}

func TestHeadersSurviveEscaping(t *testing.T) {
	for _, value := range []string{"", "plain", "a:b", "line\nline\r", `C:\path\n`, `\\`, "ünïcode"} {
		line := appendHeader(nil, "na:me", value, false)
		h, err := parseHeader(strings.TrimSuffix(string(line), "\n"), false)
		if err != nil || h != (header{"na:me", value}) {
			t.Errorf("%q: %q, %v", value, h, err)
		}
		if bytes.Count(line, []byte{'\n'}) != 1 || bytes.IndexByte(line, '\r') >= 0 {
			t.Errorf("%q is more than a line: %q", value, line)
		}
	}
	if got := string(appendHeader(nil, "passcode", `a:b\c`, true)); got != `passcode:a:b\c`+"\n" {
		t.Errorf("CONNECT: %q", got)
	}
}

// FuzzReadFrame: no bytes make readFrame panic or read without bounds, and what it
// reads can be written and read again.
func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\n\nRECEIPT\nreceipt-id:17\n\n\x00\n"))
	f.Add([]byte("ERROR\r\nmessage:a\\cb\r\ncontent-length:3\r\n\r\na\x00b\x00"))
	f.Add([]byte("CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := readFrame(bufio.NewReader(bytes.NewReader(in)))
		if err != nil {
			return
		}
		size := len(got.command) + len(got.body)
		writable := got.command != connectCommand && got.command != connectedCommand // those are not escaped
		for _, h := range got.headers {
			size += len(h.name) + len(h.value)
			writable = writable && !strings.Contains(h.name+h.value, "\x00") // there is no escape for it
		}
		if size > len(in) || size > maxHead+maxBody {
			t.Fatalf("%d bytes made %d", len(in), size)
		}
		if !writable {
			return
		}
		text := got.append(nil)
		text = append(append(text[:len(text)-1:len(text)-1], got.body...), 0)
		again, err := readFrame(bufio.NewReader(bytes.NewReader(text)))
		if err != nil || again.command != got.command || !slices.Equal(again.headers, got.headers) || !bytes.Equal(again.body, got.body) {
			t.Fatalf("%q became %q: %v", in, text, err)
		}
	})
}
