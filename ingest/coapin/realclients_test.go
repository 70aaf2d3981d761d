package coapin

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// Clients that others have written are the ones that count: libcoap is what
// ESP-IDF, Zephyr's tools and Debian have.

const (
	testIdentity = "boiler"
	testKey      = "a-key-of-16-byte"
)

// longPatience is for processes, which may take seconds to start on a machine
// that has other things to do.
const longPatience = time.Minute

// needLibcoap is the path of one of Debian's coap-clients; without it the test is skipped.
func needLibcoap(t *testing.T, flavour string) (program string) {
	t.Helper()
	program, err := exec.LookPath("coap-client-" + flavour)
	if err != nil {
		t.Skip("no coap-client-" + flavour + ": apt-get install libcoap3-bin")
	}
	return program
}

// libcoap calls one of Debian's coap-clients, and returns what it prints, but for its
// warnings: it gives one for what has come twice, as it does on a slow machine.
func libcoap(t *testing.T, flavour string, args ...string) string {
	t.Helper()
	program := needLibcoap(t, flavour)
	ctx, cancel := context.WithTimeout(t.Context(), longPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return regexp.MustCompile(`(?m)^.* WARN .*\n?`).ReplaceAllString(string(out), "")
}

// flavour is a build of libcoap, and how it is told where to go.
type flavour struct {
	name string
	args []string // before the URI
	uri  string
}

func flavours(t *testing.T, s *Source) []flavour {
	t.Helper()
	plain, secure := s.Addrs(t.Context())
	shared := []string{"-u", testIdentity, "-k", testKey}
	return []flavour{
		{"notls", nil, "coap://" + plain.String()},
		{"openssl", shared, "coaps://" + secure.String()},
		{"gnutls", shared, "coaps://" + secure.String()},
	}
}

func both(t testing.TB, custody *ingesttest.Custody) *Source {
	return start(t, custody, Config{Listen: "127.0.0.1:0", ListenDTLS: "127.0.0.1:0", Key: testKeys})
}

func testKeys(identity string) []byte {
	if identity == testIdentity {
		return []byte(testKey)
	}
	return nil
}

func TestLibcoapBringsReadings(t *testing.T) {
	custody := instant()
	s := both(t, custody)
	had := 0
	for _, f := range flavours(t, s) {
		t.Run(f.name, func(t *testing.T) {
			for _, more := range [][]string{{"-m", "post"}, {"-m", "put"}, {"-m", "post", "-N"}} {
				args := append(append(append([]string{}, f.args...), more...), "-t", "json", "-e", `{"temp":21.5}`, f.uri+"/flat/"+f.name)
				if out := libcoap(t, f.name, args...); strings.TrimSpace(out) != "" {
					t.Errorf("%q: %s", args, out)
				}
				got := custody.Taken(t, had+1)[had]
				if want := (reading.Reading{Device: "flat/" + f.name, Metric: "temp", Value: reading.Float(21.5), Time: got.Time, Flags: reading.Stamped}); got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
				had++
			}
		})
	}
}

// A body comes in blocks, each with a token of its own.
func TestLibcoapBringsLargeBodiesWhole(t *testing.T) {
	custody := instant()
	s := both(t, custody)
	had := 0
	for _, f := range flavours(t, s) {
		t.Run(f.name, func(t *testing.T) {
			for _, size := range []string{"16", "256", "1024"} {
				for _, kind := range []string{"", "-N"} {
					body := bytes.Repeat([]byte("0123456789"), 300)
					copy(body, size+kind+f.name)
					file := filepath.Join(t.TempDir(), "body")
					if err := os.WriteFile(file, body, 0o600); err != nil {
						t.Fatal(err)
					}
					args := append(append([]string{}, f.args...), "-m", "put", "-b", size, "-t", "42", "-f", file)
					if kind != "" {
						args = append(args, kind)
					}
					libcoap(t, f.name, append(args, f.uri+"/raw/"+f.name)...)
					got := custody.Taken(t, had+1)[had]
					if got.Value != reading.Bytes(string(body)) {
						t.Errorf("blocks of %s: got %d bytes", size, len(got.Value.Text()))
					}
					had++
				}
			}
		})
	}
	if got := s.Stats(); got.Refused != 0 || got.Malformed != 0 {
		t.Errorf("%+v", got)
	}
}

func TestLibcoapIsToldWhatIsWrong(t *testing.T) {
	custody := instant()
	s := both(t, custody)
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, make([]byte, 70_000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range flavours(t, s) {
		for _, tt := range []struct {
			want string
			args []string
			path string
		}{
			{"4.00", []string{"-m", "post", "-e", "not JSON"}, "/picky/d"},
			{"4.02", []string{"-m", "post", "-e", "1", "-O", "2049,x"}, "/d"},
			{"4.04", []string{"-m", "post", "-e", "1"}, "/$SYS/d"},
			{"4.05", []string{"-m", "delete"}, "/d"},
			{"4.13", []string{"-m", "put", "-f", large}, "/d"},
		} {
			args := append(append(append([]string{}, f.args...), tt.args...), f.uri+tt.path)
			if out := libcoap(t, f.name, args...); !strings.Contains(out, tt.want) {
				t.Errorf("%q: got %q, want %s", args, out, tt.want)
			}
		}
	}
	if n := len(custody.Taken(t, 0)); n != 0 {
		t.Errorf("%d readings were taken", n)
	}
}

func TestLibcoapLooks(t *testing.T) {
	custody := instant()
	s := both(t, custody)
	for i := range 30 {
		c := dial(t, plainAddr(t, s))
		c.expect(c.request(confirmable, post, "hall", fmt.Sprint(i), "température").carrying("1"), changed)
	}
	for _, f := range flavours(t, s) {
		out := libcoap(t, f.name, append(append([]string{}, f.args...), "-m", "get", f.uri+"/.well-known/core")...)
		for _, want := range []string{`</.well-known/core>;ct=40,</hall/0/temp%C3%A9rature>;rt="tidegate.readings"`, `</hall/29/`} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in %s", f.name, want, out)
			}
		}
	}
}

func TestLibcoapSendsAgainUntilCustodyIsTaken(t *testing.T) {
	needLibcoap(t, "notls")
	custody := ingesttest.NewCustody()
	s := both(t, custody)
	plain, _ := s.Addrs(t.Context())
	done := make(chan string, 1)
	go func() {
		done <- libcoap(t, "notls", "-m", "post", "-e", "21.5", "coap://"+plain.String()+"/d")
	}()
	custody.Taken(t, 1)
	late := time.After(longPatience)
	for s.Stats().Repeated < 2 {
		select {
		case out := <-done:
			t.Fatalf("ended with %q before there was an answer", out)
		case <-late:
			t.Fatal("nothing was sent again")
		case <-time.After(10 * time.Millisecond):
		}
	}
	custody.Commit()
	if out := <-done; strings.TrimSpace(out) != "" {
		t.Errorf("got %q", out)
	}
	if n := len(custody.Taken(t, 1)); n != 1 {
		t.Errorf("%d readings were taken", n)
	}
}
