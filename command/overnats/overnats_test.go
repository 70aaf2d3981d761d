package overnats

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/command/commandtest"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/servertest"
)

func secret(t *testing.T, text string) conf.Secret {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := conf.ReadSecret(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// boss makes the stream, gives commands and reads answers.
func boss(t *testing.T, address string) (put func(t *testing.T, doc string), next func(t *testing.T) command.Answer) {
	t.Helper()
	nc, err := nats.Connect("nats://"+address, nats.UserInfo("gw", "s3cret"), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "COMMANDS", Subjects: []string{"commands.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "ANSWERS", Subjects: []string{"answers.>"}}); err != nil {
		t.Fatal(err)
	}
	put = func(t *testing.T, doc string) {
		t.Helper()
		commandtest.Eventually(t, "the stream takes it", func() bool {
			_, err := js.Publish("commands.north-7", []byte(doc))
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
		cfg := Config{Servers: []string{s.Addr("nats")}, Username: "gw", Password: secret(t, "s3cret"),
			Stream: "COMMANDS", Subject: "commands.north-7", Durable: "north-7", Answers: "answers.north-7", AckWait: 2 * time.Second, Name: "suite"}
		bad := cfg
		bad.Password = secret(t, "wrong")
		put, next := boss(t, s.Addr("nats"))
		log := slog.New(slog.DiscardHandler)
		return commandtest.Peer{
			Courier: New(cfg, log), Wrong: New(bad, log), Put: put, Answer: next,
			Kill: func(t *testing.T) { s.Kill() }, Restart: func(t *testing.T) { s.Start() },
		}
	})
}
