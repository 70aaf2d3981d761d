package stompout

import (
	"testing"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

func TestReceiverOfActiveMQCountsEachReadingOnce(t *testing.T) {
	receiverCountsOnce(t, active, password)
}

func TestReceiverOfRabbitMQCountsEachReadingOnce(t *testing.T) {
	receiverCountsOnce(t, rabbit, simple)
}

func receiverCountsOnce(t *testing.T, shared *servertest.Shared, password string) {
	server := shared.Get(t)
	uplinktest.RunRecipe(t, uplinktest.Recipe{
		Script: "stomp.py", Module: "stomp", Package: "python3-stomp", Server: server,
		Args: []string{server.Addr("stomp"), "/queue/once"},
		Env:  []string{"STOMP_USER=" + user, "STOMP_PASSWORD=" + password},
		New: func(t *testing.T) uplink.Sink {
			return onServer(t, shared, password, Config{Destination: template(t, "/queue/once")})
		},
	})
}
