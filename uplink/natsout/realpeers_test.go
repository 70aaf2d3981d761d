package natsout

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/natsline"
)

// A real server in lame duck mode has stopped its JetStream, but not its connections.
func TestRealLameDuckIsLeft(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	leaving := servertest.NATS(t, servertest.User(user, password), servertest.Config(fmt.Sprintf("pid_file: %q", pidFile), `lame_duck_duration: "60s"`, `lame_duck_grace_period: "30s"`))
	next := servertest.NATS(t, servertest.User(user, password))
	for _, s := range []*servertest.Server{leaving, next} {
		makeStream(t, s.Addr("nats"), jetstream.StreamConfig{})
	}
	sink := as(t, "127.0.0.1:1", password, Config{})
	sink.cfg.Servers = []string{leaving.Addr("nats"), next.Addr("nats")}
	ctx := within(t, soon)
	if err := sink.Send(ctx, message(0, 10)); err != nil {
		t.Fatal(err)
	}
	if n := len(readAll(t, leaving.Addr("nats"))); n != 1 {
		t.Fatalf("%d messages", n)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGUSR2)
	}
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; len(readAll(t, next.Addr("nats"))) == 0; n++ {
		try, cancel := context.WithTimeout(ctx, time.Second)
		if err := sink.Send(try, message(n, 10)); uplink.IsPermanent(err) || ctx.Err() != nil {
			t.Fatal(err)
		}
		cancel()
	}
}

// TestRealServerTakesEveryByte: in pedantic mode nats-server checks what it takes,
// and in verbose mode it says so to each.
func TestRealServerTakesEveryByte(t *testing.T) {
	server := servertest.NATS(t, servertest.User(user, password))
	conn, err := net.Dial("tcp", server.Addr("nats"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(soon))
	e := natsline.NewEar(conn, natsline.Bounds{Most: maxAnswer})
	if v, err := e.Next(); err != nil || v.Op != natsline.OpInfo {
		t.Fatalf("%+v, %v", v, err)
	}
	said, err := natsline.AppendLogin(nil, natsline.Login{Verbose: true, Pedantic: true, User: user, Password: password, Name: `"quoted" <ü>`, Language: "go", Version: "tidegate", Protocol: 1, Headers: true, NoResponders: true}, subscribe("_INBOX.abc."))
	if err != nil {
		t.Fatal(err)
	}
	headers := append(appendHeader(appendHeader([]byte("NATS/1.0\r\n"), idHeader, "a/b-c"), "Content-Type", "x"), "\r\n"...)
	said = append(appendPublish(said, "nobody", "_INBOX.abc.", 35, headers, 2), "{}\r\n"...)
	said = appendRequest(said, "$JS.API.INFO", "_INBOX.abc.", 36, nil)
	if _, err := conn.Write(append(said, "PING\r\n"...)); err != nil {
		t.Fatal(err)
	}
	counts, pongs := map[string]int{}, 0
	for pongs < 2 || counts["_INBOX.abc.10"] == 0 {
		v, err := e.Next()
		switch {
		case err != nil || v.Op == natsline.OpError:
			t.Fatalf("%s %v, after %v", v.Text, err, counts)
		case v.Op == natsline.OpPong:
			pongs++
		case v.Op == natsline.OpOK:
			counts["OK"]++
		case v.Op == natsline.OpMessage:
			counts[string(v.Subject)]++
			if v.SID != subscription || string(v.Subject) == "_INBOX.abc.z" && v.Status != "503" || v.Status == "" && len(v.Body) == 0 {
				t.Errorf("%s %s %s", v.Subject, v.Status, v.Body)
			}
		}
	}
	if counts["OK"] != 4 || counts["_INBOX.abc.z"] != 1 {
		t.Errorf("%v", counts)
	}
}

// TestAnotherClientReadsWhatIsMeant: an independent subscriber sees the headers and
// the body as they were.
func TestAnotherClientReadsWhatIsMeant(t *testing.T) {
	server := servertest.NATS(t, servertest.User(user, password))
	address := server.Addr("nats")
	makeStream(t, address, jetstream.StreamConfig{})
	nc, err := nats.Connect("nats://"+address, nats.UserInfo(user, password))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("telemetry.>")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	m := inParts(message(0, 0), "ü/é", "b.c d", "large")
	m.Parts[0].Body, m.Parts[1].Body, m.Parts[2].Body = []byte("\r\nPING\r\n"), nil, []byte(strings.Repeat("x", 100_000))
	if err := as(t, address, password, Config{Subject: template(t, "telemetry.{device}"), Stream: stream}).Send(within(t, soon), m); err != nil {
		t.Fatal(err)
	}
	for i, subject := range []string{"telemetry.ü/é", "telemetry.b%2Ec%20d", "telemetry.large"} {
		got, err := sub.NextMsgWithContext(within(t, soon))
		if err != nil {
			t.Fatal(err)
		}
		key := m.PartKey(m.Parts[i])
		want := nats.Header{idHeader: {key}, KeyHeader: {key}, typeHeader: {"application/json"}, streamHeader: {stream}}
		if got.Subject != subject || fmt.Sprint(got.Header) != fmt.Sprint(want) || string(got.Data) != string(m.Parts[i].Body) {
			t.Errorf("%s %v, %d bytes", got.Subject, got.Header, len(got.Data))
		}
	}
}
