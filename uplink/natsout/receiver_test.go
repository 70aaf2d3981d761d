package natsout

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

func TestReceiverCountsEachReadingOnce(t *testing.T) {
	server := servertest.NATS(t, servertest.User(user, password))
	makeStream(t, server.Addr("nats"), jetstream.StreamConfig{})
	uplinktest.RunRecipe(t, uplinktest.Recipe{
		Script: "nats.py", Module: "sqlite3", Package: "python3", Server: server,
		Args: []string{server.Addr("nats"), stream},
		Env:  []string{"NATS_USER=" + user, "NATS_PASSWORD=" + password},
		New:  func(t *testing.T) uplink.Sink { return as(t, server.Addr("nats"), password, Config{}) },
	})
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
