package redisout

import (
	"fmt"
	"testing"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

func TestReceiverCountsEachReadingOnce(t *testing.T) {
	server := servertest.Redis(t)
	uplinktest.RunRecipe(t, uplinktest.Recipe{
		Script: "redis.py", Module: "redis", Package: "python3-redis", Server: server,
		Args: []string{fmt.Sprintf("redis://%s/3", server.Addr("redis")), "telemetry"},
		New:  func(t *testing.T) uplink.Sink { return newSink(t, Config{Address: server.Addr("redis"), DB: 3}) },
	})
}
