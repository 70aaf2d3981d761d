package netcheck

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAReportTellsStepsInOrderAndOneVerdict(t *testing.T) {
	var lines []Line
	r := NewReport(LinkQuestions(), func(l Line) { lines = append(lines, l) })
	r.Begin(Held)
	r.End(Held, Fine("they may"))
	r.Begin(Connect)
	r.End(Connect, Wrong("do it", "it is broken"))
	r.End(Connect, Wrong("do it", "it is broken")) // nothing new
	r.End(Quota, Wrong("later", "and this"))
	if !r.Failed() || r.Found(Held).State != OK {
		t.Error("the report has forgotten")
	}
	verdict := r.Conclude(Fine("all is well"))
	if verdict.Step != Connect || verdict.State != Bad || verdict.Verdict != "It is broken — hint: do it" {
		t.Errorf("%+v", verdict)
	}
	r.Begin(Ack)
	r.End(Ack, Fine("too late"))
	if lines[len(lines)-1] != verdict || len(lines) != 5+len(LinkQuestions())-3+1 {
		t.Errorf("%d lines, the last %+v", len(lines), lines[len(lines)-1])
	}
	if lines[0].State != Running || lines[1].Text != "They may" || lines[1].Title == "" {
		t.Errorf("%+v", lines[:2])
	}
	if v := NewReport(nil, func(Line) {}).Conclude(Weak("look", "cloud.example is odd")); v.Verdict != "cloud.example is odd — hint: look" || v.State != Warn {
		t.Errorf("%+v", v)
	}
}

func dialError(err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("connect: %w", err)}
}

func TestWhyThereIsNoConnection(t *testing.T) {
	for want, err := range map[string]error{
		"nothing listens on that port":     dialError(syscall.ECONNREFUSED),
		"no way to":                        dialError(syscall.ENETUNREACH),
		"no route to host":                 dialError(syscall.EHOSTUNREACH),
		"address or the interface":         dialError(syscall.EADDRNOTAVAIL),
		"does not let the gateway connect": dialError(syscall.EPERM),
		"cuts the connection at once":      dialError(syscall.ECONNRESET),
		"does not answer within 5s":        &net.OpError{Op: "dial", Err: context.DeadlineExceeded},
		"cannot be reached: what":          errors.New("what — hint: that"),
	} {
		f := OfConnect("192.0.2.7:443", err, 5*time.Second)
		if f.State != Bad || !strings.Contains(f.Text, want) || f.Hint == "" {
			t.Errorf("%v: %+v, want %q", err, f, want)
		}
	}
}

func TestWhatNameServersSay(t *testing.T) {
	some, servers := []netip.Addr{netip.MustParseAddr("192.0.2.7")}, []string{"10.64.0.1:53"}
	for want, f := range map[string]Finding{
		"the host cloud.example is 192.0.2.7 (asked: 10.64.0.1:53)": OfName("cloud.example", servers, some, nil),
		"own list of hosts":             OfName("cloud", nil, some, nil),
		"nobody needs to be asked":      OfName("192.0.2.7", nil, some, nil),
		"is this machine itself":        OfName("cloud.example", servers, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil),
		"there is no host clowd":        OfName("clowd", servers, nil, &net.DNSError{Name: "clowd", IsNotFound: true}),
		"out of order":                  OfName("cloud", servers, nil, &net.DNSError{Err: "server misbehaving"}),
		"no name server answers":        OfName("cloud", servers, nil, &net.DNSError{Err: "i/o timeout", IsTimeout: true}),
		"address of the kind":           OfName("cloud", servers, nil, &net.DNSError{Err: "no address of the kind of the link's source", IsNotFound: true}),
		"address of 3h0m0s ago is used": OfOldName("cloud", some, 3*time.Hour, errors.New("timeout")),
	} {
		text := f.Text
		if f.State == Warn && strings.Contains(want, "itself") {
			text = strings.ReplaceAll(text, "which is this machine itself", "is this machine itself")
		}
		if !strings.Contains(text, want) || f.State != OK && f.Hint == "" {
			t.Errorf("%+v, want %q", f, want)
		}
	}
}

func TestWhoIsWrongAboutACertificate(t *testing.T) {
	day := func(text string) time.Time {
		d, err := time.Parse(time.DateOnly, text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	cert := &x509.Certificate{NotBefore: day("2027-01-01"), NotAfter: day("2027-12-31")}
	past := day("2026-06-01")
	for _, c := range []struct {
		now, theirs string
		synced      bool
		past        time.Time
		blamed      string
		says        string
	}{
		{"1970-01-01", "", false, past, Time, "the clock here is wrong"},
		{"2026-07-01", "", false, past, Time, "the clock here is behind"},
		{"2026-07-01", "2027-05-05", false, past, Time, "the other side says that it is 2027-05-05"},
		{"2026-07-01", "", true, past, Secure, "is valid from 2027-01-01 only"},
		{"2028-02-01", "", true, past, Secure, "has expired"},
		{"2028-02-01", "", false, past, Time, "one of the two is out of date"},
		{"2028-02-01", "", false, day("2028-01-15"), Secure, "whatever the clock here says"},
		{"2028-02-01", "2027-06-06", false, past, Time, "the clock here is wrong"},
		{"2028-02-01", "2028-02-01", false, past, Secure, "the other side itself says"},
		{"2028-02-01", "2027-06-06", true, past, Secure, "has expired"}, // whoever is told the time knows better
	} {
		k := Clock{Now: day(c.now), Synced: c.synced, Past: c.past}
		var theirs time.Time
		if c.theirs != "" {
			theirs = day(c.theirs)
		}
		f, blamed := k.outOfDate(cert, theirs)
		if blamed != c.blamed || !strings.Contains(f.Text, c.says) || f.State != Bad || f.Hint == "" {
			t.Errorf("%+v: %s, %+v", c, blamed, f)
		}
	}
}

func TestLoginPagesAreTold(t *testing.T) {
	to := func(where string) string { return "HTTP/1.1 302 Found\r\nLocation: " + where + "\r\n\r\n" }
	for answer, want := range map[string]string{
		to("https://login.hotel.example/x"): "https://login.hotel.example",
		to("http://10.0.0.1/login"):         "http://10.0.0.1",
		to("https://www.cloud.example/"):    "",
		to("https://cloud.example/"):        "",
		to("/login"):                        "",
		to("://"):                           "",
		"HTTP/1.1 511 Network\r\n\r\n":      "511 Network Authentication Required",
		"HTTP/1.1 200 OK\r\n\r\n<html>":     "",
		"SSH-2.0-OpenSSH\r\n":               "",
		"HTTP/1.1 302":                      "",
		to("https://\x1b[31mred.example/"):  "",
	} {
		if got := LoginIn([]byte(answer), "cloud.example"); got != want {
			t.Errorf("%q: %q, want %q", answer, got, want)
		}
	}
	if f, odd := OfTalk("cloud.example:1883", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), false); !odd || !strings.Contains(f.Text, "web server") {
		t.Errorf("%+v", f)
	}
	for _, head := range []string{"", "INFO {}", "HTTP/1.1 400 Bad Request\r\n\r\n"} {
		if f, odd := OfTalk("cloud.example:80", []byte(head), true); odd {
			t.Errorf("%q: %+v", head, f)
		}
	}
}

func TestQuestionsBesideTheWayEnd(t *testing.T) {
	near, far := net.Pipe()
	go func() {
		_, _ = far.Read(make([]byte, 1000))
		for { // it never ends by itself
			if _, err := io.WriteString(far, "x"); err != nil {
				return
			}
		}
	}()
	dial := func(context.Context, string, string) (net.Conn, error) { return near, nil }
	if got := AskLogin(t.Context(), dial, "cloud.example"); got != "" {
		t.Errorf("%q", got)
	}
	none := func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
	if got := AskTime(t.Context(), none, "cloud.example:443", "cloud.example"); !got.IsZero() {
		t.Errorf("%v", got)
	}
}

func TestWhoCanReachAListener(t *testing.T) {
	for address, state := range map[string]State{
		"127.0.0.1:1883": Warn, "[::1]:1883": Warn, "localhost:1883": Warn, "0.0.0.0:1883": OK, "[::]:1883": OK, ":1883": OK, "192.0.2.7:1883": OK, "nonsense": Warn,
	} {
		if f := OfListener(address); f.State != state {
			t.Errorf("%s: %+v", address, f)
		}
	}
}

// A trace sees when encryption begins, whatever was said before, and keeps little.
func TestATraceSeesTheHandshakeBegin(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	began := 0
	tr := &Trace{Encrypts: func() { began++ }}
	c := tr.Watch(near)
	go func() {
		_, _ = far.Write([]byte("INFO {}\r\n"))
		_, _ = io.Copy(io.Discard, io.LimitReader(far, 14))
		_, _ = far.Write(make([]byte, 3*maxHead))
		far.Close()
	}()
	if _, err := io.ReadFull(c, make([]byte, 9)); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{[]byte("CONNECT"), {0x16, 3, 1, 0, 0, 1, 0}} {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
	head, received, secured := tr.Heard()
	if began != 1 || !secured || received != 3*maxHead || len(head) != maxHead || !strings.HasPrefix(string(head), "INFO") {
		t.Errorf("began %d, %t, %d bytes, %d kept", began, secured, received, len(head))
	}
}

func FuzzLoginIn(f *testing.F) {
	f.Add([]byte("HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\n\r\n"), "cloud.example")
	f.Fuzz(func(t *testing.T, answer []byte, host string) {
		if where := LoginIn(answer, host); len(where) > 150 || strings.ContainsAny(where, "\x1b\n\r") {
			t.Errorf("%q", where)
		}
	})
}
