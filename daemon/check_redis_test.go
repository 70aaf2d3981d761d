package daemon

import (
	"testing"

	"github.com/tidegate/tidegate/internal/servertest"
)

// A server that loses what it has acknowledged answers, and is noticed all the
// same.
func TestServerThatForgetsIsNoticed(t *testing.T) {
	for _, c := range []struct {
		options []servertest.Option
		level   Level
		words   []string
	}{
		{nil, OK, []string{"uplink redis: Redis ", "every entry is on disk"}},
		{[]servertest.Option{servertest.Volatile()}, Warn, []string{"NOT persistent", "appendonly yes"}},
	} {
		var d RedisUplink
		d.SetDefaults()
		d.Name, d.URL = "redis", "redis://"+servertest.Redis(t, c.options...).Addr("redis")
		k := &checklist{}
		k.reach(t.Context(), Gateway{ID: "gw"}, systemNetwork(), upstream{"uplink.redis[0]", "redis", &d})
		expect(t, k.findings[len(k.findings)-1], c.level, c.words...)
	}
}
