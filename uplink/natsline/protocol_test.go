package natsline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// line is an Event as a line.
func (v Event) line() string {
	switch v.Op {
	case OpMessage:
		return fmt.Sprintf("message %q %q %q %q\n", v.Subject, v.SID, v.Status, v.Body)
	case OpInfo:
		return fmt.Sprintf("info %s\n", v.Text)
	case OpError:
		return fmt.Sprintf("error %s\n", v.Text)
	}
	return map[Op]string{OpPing: "ping\n", OpPong: "pong\n", OpOK: "ok\n"}[v.Op]
}

// maxAnswer is the largest message of the tests.
const maxAnswer = 1 << 20

// hearAll reads events to the end, and writes them down.
func hearAll(from io.Reader) (string, error) {
	e := NewEar(from, Bounds{Most: maxAnswer})
	var all strings.Builder
	for {
		v, err := e.Next()
		if err != nil {
			return all.String(), err
		}
		all.WriteString(v.line())
	}
}

// TestGolden: testdata/<case>/said is what a server says, events what it means. The
// cases that begin with spec are the examples of the protocol's documentation.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/said")
	if err != nil || len(cases) < 10 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, path := range cases {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			said, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(filepath.Join(filepath.Dir(path), "events"))
			if err != nil {
				t.Fatal(err)
			}
			for name, from := range map[string]io.Reader{"whole": bytes.NewReader(said), "in pieces": iotest.OneByteReader(bytes.NewReader(said))} {
				if got, err := hearAll(from); got != string(want) || !errors.Is(err, io.EOF) {
					t.Errorf("%s: %q, %v, want %q", name, got, err, want)
				}
			}
			got, err := hearAll(bytes.NewReader(said[:len(said)-1])) // what is cut is not invented
			if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(string(want), got) || len(got) == len(want) {
				t.Errorf("cut: %q, %v", got, err)
			}
		})
	}
}

func TestHostileServers(t *testing.T) {
	for name, said := range map[string]string{
		"HTTP":              "HTTP/1.1 400 Bad Request\r\n\r\n",
		"TLS":               "\x15\x03\x01\x00\x02\x02\x16\n",
		"Nothing":           "\r\n",
		"NoSize":            "MSG a 1\r\n",
		"TooManyWords":      "MSG a 1 b 2 3\r\n",
		"FarTooManyWords":   "MSG " + strings.Repeat("a ", 30_000) + "\r\n",
		"NegativeSize":      "MSG a 1 -1\r\n",
		"SizeIsNoNumber":    "MSG a 1 many\r\n",
		"SizeWithSign":      "MSG a 1 +1\r\nx\r\n",
		"EnormousSize":      "MSG a 1 2147483647\r\n",
		"SizeBeyondBits":    "MSG a 1 99999999999999999999\r\n",
		"OneTooLarge":       fmt.Sprintf("MSG a 1 %d\r\n", maxAnswer+1),
		"BodyIsLonger":      "MSG a 1 2\r\nabc\r\n",
		"BodyIsShorter":     "MSG a 1 4\r\nabc\r\nPING\r\n",
		"LongBodyIsLonger":  fmt.Sprintf("MSG a 1 %d\r\n%s\r\n", 2*readAhead, strings.Repeat("x", 2*readAhead+1)),
		"HeadersBeyondBody": "HMSG a 1 13 12\r\nNATS/1.0\r\n\r\n\r\n",
		"HeadersTooShort":   "HMSG a 1 11 12\r\nNATS/1.0\r\n\r\n\r\n",
		"HeadersOfNothing":  "HMSG a 1 0 2\r\nab\r\n",
		"HeadersOfAnother":  "HMSG a 1 12 12\r\nHTTP/1.1\r\n\r\n\r\n",
		"HeadersNewer":      "HMSG a 1 13 13\r\nNATS/1.05\r\n\r\n\r\n",
		"HeadersNoEnd":      "HMSG a 1 15 15\r\nNATS/1.0\r\na: b\r\n\r\n",
		"EndlessLine":       strings.Repeat("A", MaxLine+1),
		"EndlessInfo":       "INFO {" + strings.Repeat(" ", 4*MaxLine),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := hearAll(strings.NewReader(said))
			if !errors.Is(err, ErrNotNATS) || strings.Contains(got, "message") && name != "BodyIsShorter" || len(err.Error()) > 1000 {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	for _, text := range []string{"", "null,", "[]", `{"max_payload":"many"}`, `{"headers":1}`} {
		if g, err := ParseInfo([]byte(text)); !errors.Is(err, ErrNotNATS) {
			t.Errorf("INFO %s: %+v, %v", text, g, err)
		}
	}
	if g, err := ParseInfo([]byte(`{"max_payload":-5}`)); err != nil || g.MaxPayload != 0 {
		t.Errorf("%+v, %v", g, err)
	}
}

// What is announced costs nothing before it comes.
func TestAnnouncedSizesAreNotAllocated(t *testing.T) {
	said := fmt.Sprintf("MSG a 1 %d\r\nx", maxAnswer)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const tries = 50
	for range tries {
		if _, err := hearAll(strings.NewReader(said)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / tries; each > 3*readAhead {
		t.Errorf("%d bytes for %d", each, len(said))
	}
}

// FuzzHear: no bytes make a panic, or more than they are; what was heard can be said
// again, and means the same.
func FuzzHear(f *testing.F) {
	paths, err := filepath.Glob("testdata/*/said")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		said, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(said)
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		e := NewEar(bytes.NewReader(said), Bounds{Most: maxAnswer})
		var again, size = []byte(nil), 0
		var first strings.Builder
		for {
			v, err := e.Next()
			if err != nil {
				break
			}
			first.WriteString(v.line())
			size += len(v.Text) + len(v.Subject) + len(v.SID) + len(v.Status) + len(v.Body)
			switch v.Op {
			case OpMessage:
				head := "NATS/1.0 " + v.Status + "\r\n\r\n"
				again = fmt.Appendf(again, "HMSG %s %s %d %d\r\n%s%s\r\n", v.Subject, v.SID, len(head), len(head)+len(v.Body), head, v.Body)
			case OpInfo:
				again = fmt.Appendf(again, "INFO %s\r\n", v.Text)
			case OpError:
				again = fmt.Appendf(again, "-ERR '%s'\r\n", v.Text)
			default:
				again = fmt.Appendf(again, "%s\r\n", []string{OpPing: "PING", OpPong: "PONG", OpOK: "+OK"}[v.Op])
			}
		}
		if size > len(said) {
			t.Fatalf("%d bytes made %d", len(said), size)
		}
		if second, err := hearAll(bytes.NewReader(again)); second != first.String() || !errors.Is(err, io.EOF) {
			t.Fatalf("%q became %q: %v", first.String(), second, err)
		}
	})
}

// A body of which only the beginning is kept is passed over to its end.
func TestTheRestOfALongBodyIsPassedOver(t *testing.T) {
	said := io.MultiReader(strings.NewReader("HMSG a 1 $JS.ACK.s.c 12 2000012\r\nNATS/1.0\r\n\r\n"),
		bytes.NewReader(bytes.Repeat([]byte("x"), 2_000_000)), strings.NewReader("\r\nPING\r\nMSG a 1 300\r\n"+strings.Repeat("y", 300)+"zz"))
	e := NewEar(said, Bounds{Most: 4 << 20, Keep: 100})
	v, err := e.Next()
	if err != nil || string(v.Body) != strings.Repeat("x", 100) || v.Reply != "$JS.ACK.s.c" || v.Status != "" {
		t.Errorf("%d bytes, reply %q, status %q, %v", len(v.Body), v.Reply, v.Status, err)
	}
	if v, err = e.Next(); err != nil || v.Op != OpPing {
		t.Errorf("behind it comes %+v, %v", v, err)
	}
	if _, err = e.Next(); !errors.Is(err, ErrNotNATS) {
		t.Errorf("a body without its end: %v", err)
	}
}

// What stands behind the status of headers is its reason.
func TestAStatusHasItsReason(t *testing.T) {
	v, err := NewEar(strings.NewReader("HMSG a 1 32 32\r\nNATS/1.0 408 Request Timeout\r\n\r\n\r\n"), Bounds{Most: 100}).Next()
	if err != nil || v.Status != "408" || v.Reason != "Request Timeout" {
		t.Errorf("%q %q, %v", v.Status, v.Reason, err)
	}
}

// FuzzInfo: no INFO makes a panic, or a limit below nothing.
func FuzzInfo(f *testing.F) {
	f.Add([]byte(`{"version":"2.9.10","proto":1,"headers":true,"max_payload":1048576,"tls_required":true,"nonce":"x","ldm":true}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		g, err := ParseInfo(text)
		if g.MaxPayload < 0 || err != nil && g != (Info{}) || len(g.Nonce)+len(g.Version) > 3*len(text) {
			t.Errorf("%+v, %v", g, err)
		}
	})
}
