package overnats

import (
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/command/commandtest"
	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// boss makes the stream, gives commands and reads answers.
func boss(t *testing.T, address string) (put func(t *testing.T, doc string), next func(t *testing.T) command.Answer) {
	t.Helper()
	nc, err := nats.Connect("nats://"+address, nats.UserInfo("gw", "s3cret"), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := nc.JetStream(nats.MaxWait(commandtest.Patience / 3))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "COMMANDS", Subjects: []string{"commands.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "ANSWERS", Subjects: []string{"answers.>"}}); err != nil {
		t.Fatal(err)
	}
	n := 0
	put = func(t *testing.T, doc string) {
		t.Helper()
		n++ // what is said again, because its acknowledgement was late, is there once
		commandtest.Eventually(t, "the stream takes it", func() bool {
			_, err := js.Publish("commands.north-7", []byte(doc), nats.MsgId(strconv.Itoa(n)))
			return err == nil
		})
	}
	seen := uint64(0)
	next = func(t *testing.T) (a command.Answer) {
		t.Helper()
		commandtest.Eventually(t, "an answer", func() bool {
			m, err := js.GetMsg("ANSWERS", seen+1)
			if err != nil {
				return false
			}
			seen++
			if err := json.Unmarshal(m.Data, &a); err != nil {
				t.Fatal(err)
			}
			return true
		})
		return a
	}
	return put, next
}

func TestOverNATS(t *testing.T) {
	commandtest.Run(t, func(t *testing.T) commandtest.Peer {
		s := servertest.NATS(t, servertest.User("gw", "s3cret"))
		cfg := Config{Servers: []string{s.Addr("nats")}, Username: "gw", Password: uplinktest.Secret(t, "s3cret"),
			Stream: "COMMANDS", Subject: "commands.north-7", Durable: "north-7", Answers: "answers.north-7", AckWait: 2 * time.Second, Name: "suite"}
		bad := cfg
		bad.Password = uplinktest.Secret(t, "wrong")
		put, next := boss(t, s.Addr("nats"))
		log := slog.New(slog.DiscardHandler)
		return commandtest.Peer{
			Courier: New(cfg, log), Wrong: New(bad, log), Put: put, Answer: next,
			Kill: func(t *testing.T) { s.Kill() }, Restart: func(t *testing.T) { s.Start() },
		}
	})
}

func TestOverTLS(t *testing.T) {
	a := servertest.NewAuthority(t)
	trusted := &tls.Config{RootCAs: a.Pool()}
	good := servertest.NATS(t, servertest.TLS(a), servertest.User("gw", "s3cret"))
	expired := servertest.NATS(t, servertest.TLSWith(a, a.Expired()))
	plain := servertest.NATS(t)
	for name, c := range map[string]struct {
		cfg  Config
		want string // in the error; "" for none
	}{
		"TLS":       {Config{Servers: []string{good.Addr("tls")}, TLS: trusted, Secure: true, Username: "gw", Password: uplinktest.Secret(t, "s3cret")}, ""},
		"expired":   {Config{Servers: []string{expired.Addr("tls")}, TLS: trusted, Secure: true}, "is the clock"},
		"no TLS":    {Config{Servers: []string{plain.Addr("nats")}, TLS: trusted, Secure: true}, "turn it on over there"},
		"nobody":    {Config{Servers: []string{"127.0.0.1:1"}}, "nothing listens"},
		"second":    {Config{Servers: []string{"127.0.0.1:1", plain.Addr("nats")}}, ""},
		"no stream": {Config{Servers: []string{plain.Addr("nats")}, Stream: "nowhere"}, "make the stream"},
	} {
		if c.cfg.Stream == "" {
			c.cfg.Stream = "COMMANDS"
			if c.want == "" {
				c.want = "make the stream" // which is as far as it gets
			}
		}
		about, err := New(c.cfg, slog.New(slog.DiscardHandler)).Probe(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v", name, about, err)
		}
	}
}
