package overnats

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestWhatAServerSays(t *testing.T) {
	for text, want := range map[string]event{
		"PING\r\n": {op: opPing}, "pong\r\n": {op: opPong}, "+OK\r\n": {op: opOK}, "-ERR 'Authorization Violation'\r\n": {op: opError, text: "Authorization Violation"},
		"INFO {\"headers\":true} \r\n":                               {op: opInfo, text: `{"headers":true} `},
		"MSG a.b 1 3\r\nx\r\n\r\n":                                   {op: opMessage, message: message{subject: "a.b", body: []byte("x\r\n")}},
		"MSG a.b 1 $JS.ACK.s.c 2\r\n{}\r\n":                          {op: opMessage, message: message{subject: "a.b", reply: "$JS.ACK.s.c", body: []byte("{}")}},
		"HMSG a 1 32 32\r\nNATS/1.0 408 Request Timeout\r\n\r\n\r\n": {op: opMessage, message: message{subject: "a", status: "408", reason: "Request Timeout"}},
		"HMSG a 1 r 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\n":         {op: opMessage, message: message{subject: "a", reply: "r", body: []byte("hi")}},
	} {
		got, err := readEvent(bufio.NewReader(strings.NewReader(text)))
		if err != nil || got.op != want.op || got.text != want.text || got.message.subject != want.message.subject || got.message.reply != want.message.reply ||
			got.message.status != want.message.status || got.message.reason != want.message.reason || !bytes.Equal(got.message.body, want.message.body) {
			t.Errorf("%q\n got %+v, %v\nwant %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"HTTP/1.1 400\r\n", "MSG a 1\r\n", "MSG a 1 x\r\n", "MSG a 1 99999999999\r\n", "HMSG a 1 5 4\r\nxxxx\r\n", "MSG a 1 1\r\nxyz", strings.Repeat("x", maxLine+1), "HMSG a 1 4 4\r\nabcd\r\n", "\r\n"} {
		if got, err := readEvent(bufio.NewReader(strings.NewReader(text))); !errors.Is(err, errNotNATS) {
			t.Errorf("%.30q: %+v, %v", text, got, err)
		}
	}
	in := bufio.NewReader(io.MultiReader(strings.NewReader("MSG a 1 2000000\r\n"), bytes.NewReader(bytes.Repeat([]byte("x"), 2_000_000)), strings.NewReader("\r\nPING\r\n")))
	if got, err := readEvent(in); err != nil || len(got.message.body) != maxBody {
		t.Errorf("%d bytes, %v", len(got.message.body), err)
	}
	if got, err := readEvent(in); err != nil || got.op != opPing {
		t.Errorf("behind it comes %+v, %v", got, err)
	}
}

func TestWhenAMessageWasTakenIn(t *testing.T) {
	at := time.Unix(1780315200, 5)
	for reply, want := range map[string]time.Time{
		"$JS.ACK.COMMANDS.north-7.1.4.9.1780315200000000005.3":               at,
		"$JS.ACK.hub.ACCOUNT.COMMANDS.north-7.1.4.9.1780315200000000005.3":   at,
		"$JS.ACK.hub.ACCOUNT.COMMANDS.north-7.1.4.9.1780315200000000005.3.x": at,
		"": {}, "_INBOX.x": {}, "$JS.ACK.COMMANDS.north-7.1.4.9.now.3": {},
	} {
		if got := queued(reply); !got.Equal(want) {
			t.Errorf("%s: %v", reply, got)
		}
	}
}

// FuzzReadEvent: any bytes are events within the bounds, or an error.
func FuzzReadEvent(f *testing.F) {
	f.Add([]byte("INFO {}\r\nMSG a.b 1 $JS.ACK.s.c.1.2.3.4.5 2\r\n{}\r\nHMSG a 1 32 32\r\nNATS/1.0 408 Request Timeout\r\n\r\n\r\nPING\r\n-ERR 'x'\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bufio.NewReader(bytes.NewReader(b))
		for {
			e, err := readEvent(in)
			if err != nil {
				if !errors.Is(err, errNotNATS) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatal(err)
				}
				return
			}
			queued(e.message.reply)
			if len(e.message.body)+len(e.text) > len(b) {
				t.Fatalf("%d bytes of %d", len(e.message.body), len(b))
			}
		}
	})
}
