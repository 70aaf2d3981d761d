package linein

import (
	"context"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// realClient is a program that speaks to a door.
type realClient struct {
	name, tool, install string
	change              func(*Config)
	command             string
	replied             string
	want                []string
}

func realClients(t *testing.T) []realClient {
	return []realClient{
		{"nc over TCP", "nc", "netcat-openbsd", replying,
			`printf '1\n2\r\n' | nc -N $HOST $PORT`, "OK\nOK\n", []string{"m=1", "m=2"}},
		{"nc over UDP", "nc", "netcat-openbsd", overUDP(frame.Gap),
			`printf '{"a":1,\n"b":2}' | nc -u -w1 $HOST $PORT`, "", []string{"a=1", "b=2"}},
		{"socat over TCP", "socat", "socat", replying,
			`printf '1\n2\n' | socat -t30 - TCP:$HOST:$PORT`, "OK\nOK\n", []string{"m=1", "m=2"}},
		{"socat over UDP", "socat", "socat", overUDP(frame.Line),
			`printf '1\n2' | socat - UDP:$HOST:$PORT`, "", []string{"m=1", "m=2"}},
		{"socat over TLS", "socat", "socat", func(c *Config) { replying(c); c.TLS = serverTLS(t) },
			`printf '1\n2\n' | socat -t30 - OPENSSL:$HOST:$PORT,cafile=$CA,verify=1`, "OK\nOK\n", []string{"m=1", "m=2"}},
		{"openssl s_client", "openssl", "openssl", func(c *Config) { replying(c); c.TLS = serverTLS(t) },
			// which hangs up when it has nothing more to say, whatever is on its way
			`: >$OUT; (printf '1\n2\n'; for wait in $(seq 300); do [ $(wc -l <$OUT) -lt 2 ] || break; sleep 0.1; done) |
			openssl s_client -quiet -no_ign_eof -verify_quiet -CAfile $CA -connect $HOST:$PORT >$OUT; cat $OUT`, "OK\nOK\n", []string{"m=1", "m=2"}},
		{"bash alone", "bash", "bash", replying,
			`bash -c 'exec 3<>/dev/tcp/$HOST/$PORT; echo 21.5 >&3; read -r -u 3 reply; echo $reply'`, "OK\n", []string{"m=21.5"}},
		{"bash alone over UDP", "bash", "bash", overUDP(frame.Gap),
			`bash -c 'echo -n 21.5 >/dev/udp/$HOST/$PORT'`, "", []string{"m=21.5"}},
		{"logger with octet counting", "logger", "bsdutils", syslog(Listen, frame.Octets),
			`printf 'pump on\npump off\n' | logger -T -n $HOST -P $PORT --octet-count --rfc5424=notime,notq,nohost -t pump`,
			"", []string{"pump - - - pump on", "pump - - - pump off"}},
		{"logger with lines", "logger", "bsdutils", syslog(Listen, frame.Line),
			`printf 'pump on\npump off\n' | logger -T -n $HOST -P $PORT --rfc5424=notime,notq,nohost -t pump`,
			"", []string{"pump - - - pump on", "pump - - - pump off"}},
		{"logger over UDP", "logger", "bsdutils", syslog(Datagrams, frame.Gap),
			`logger -d -n $HOST -P $PORT --rfc3164 -t pump 'pump on'`, "", []string{"pump: pump on"}},
	}
}

// What technicians have at hand when they try a port out, and what speaks syslog.
// Each is a shell command, in which $HOST and $PORT are the door's, $CA is the
// file of its certificate and $OUT one to write to; its output is what it was
// replied.
func TestRealClients(t *testing.T) {
	for _, c := range realClients(t) {
		t.Run(c.name, func(t *testing.T) {
			if _, err := exec.LookPath(c.tool); err != nil {
				t.Skipf("no %s: apt-get install %s", c.tool, c.install)
			}
			cfg := config()
			c.change(&cfg)
			w := start(t, cfg)
			host, port, err := net.SplitHostPort(w.Addr(t.Context()).String())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), ingesttest.Patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, "sh", "-c", c.command)
			cmd.WaitDelay = time.Second // for what the shell has started
			cmd.Env = append(os.Environ(), "HOST="+host, "PORT="+port, "CA="+writeCert(t, cfg), "OUT="+filepath.Join(t.TempDir(), "out"))
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v, after %q", err, out)
			}
			if string(out) != c.replied {
				t.Errorf("replied %q, want %q", out, c.replied)
			}
			got := w.values(len(c.want))
			if !slices.EqualFunc(got, c.want, func(got, want string) bool { return strings.HasSuffix(got, want) }) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func replying(c *Config) { c.Reply = "OK\n" }

func overUDP(kind frame.Kind) func(*Config) {
	return func(c *Config) { c.Transport, c.Framing.Kind = Datagrams, kind }
}

func syslog(transport Transport, kind frame.Kind) func(*Config) {
	return func(c *Config) {
		c.Transport, c.Framing.Kind, c.Target.Decoder, c.Target.Metric = transport, kind, text{}, ""
	}
}

func writeCert(t *testing.T, cfg Config) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if cfg.TLS == nil {
		return file
	}
	der := cfg.TLS.Certificates[0].Certificate[0]
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// text keeps a message as text, which tests can read.
type text struct{}

func (text) Decode(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	return append(dst, reading.Reading{Device: f.Device, Metric: "text", Value: reading.String(strings.TrimSpace(string(f.Payload)))}), nil
}
