package natsout

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

const (
	user     = "gateway"
	password = "open-sesame"
	stream   = "TELEMETRY"
	limit    = 150_000 // of the stream's messages with their headers, in bytes
)

func TestNATS(t *testing.T) {
	uplinktest.RunReal(t, uplinktest.Real{
		Server: func(t *testing.T) *servertest.Server {
			s := servertest.NATS(t, servertest.User(user, password))
			makeStream(t, s.Addr("nats"), jetstream.StreamConfig{MaxMsgSize: limit})
			return s
		},
		Protocol: "nats",
		New: func(t *testing.T, address string) uplink.Sink {
			return as(t, address, password, Config{})
		},
		BadPassword: func(t *testing.T, address string) uplink.Sink {
			return as(t, address, uplinktest.WrongPassword, Config{})
		},
		TLS: func(t *testing.T, address string, secure *tls.Config) uplink.Sink {
			return as(t, address, password, Config{TLS: secure, Secure: true})
		},
		Secure: func(t *testing.T, certificate servertest.Option) string {
			s := servertest.NATS(t, servertest.User(user, password), certificate)
			makeStream(t, s.Addr("nats"), jetstream.StreamConfig{}, nats.Secure(&tls.Config{InsecureSkipVerify: true}))
			return s.Addr("nats")
		},
		Read:   readAll,
		Pieces: true, Dedups: true, Fills: true, TooLarge: limit + 1,
	})
}

func as(t *testing.T, address, password string, cfg Config) *Sink {
	t.Helper()
	cfg.Servers, cfg.Username, cfg.Password = []string{address}, user, uplinktest.Secret(t, password)
	if cfg.Subject.String() == "" {
		cfg.Subject = template(t, "telemetry.{gateway}")
	}
	return newSink(t, cfg)
}

// admin is a connection with the library's own JetStream.
func admin(t testing.TB, address string, more ...nats.Option) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect("nats://"+address, append(more, nats.UserInfo(user, password))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// makeStream makes a stream that is kept in files, whatever else cfg says.
func makeStream(t testing.TB, address string, cfg jetstream.StreamConfig, more ...nats.Option) {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = stream
	}
	if cfg.Subjects == nil {
		cfg.Subjects = []string{"telemetry.>"}
	}
	if _, err := admin(t, address, more...).CreateOrUpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// readAll reads the stream from its beginning to its end, message by message.
func readAll(t *testing.T, address string) (all []uplinktest.Received) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 6*soon)
	defer cancel()
	s, err := admin(t, address).Stream(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for n := info.State.FirstSeq; n <= info.State.LastSeq && n > 0; n++ {
		m, err := s.GetMsg(ctx, n)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, uplinktest.Received{Key: m.Header.Get(KeyHeader), Body: m.Data})
	}
	return all
}
