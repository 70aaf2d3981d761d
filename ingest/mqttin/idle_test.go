//go:build !race

package mqttin

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Idle connections give their memory back.
func TestIdleConnectionsAreSmall(t *testing.T) {
	src := start(t, instant(), Config{})
	connect(t, src, 4, "first")
	const clients = 200
	before := heap()
	conns := make([]*client, clients)
	for i := range conns {
		conns[i] = connect(t, src, 4, fmt.Sprint("c", i))
		conns[i].publish("home/kitchen/temp", strings.Repeat("1", 1000), 1, 1)
		conns[i].expect(packets.Puback, 1)
	}
	per := (heap() - before) / clients
	t.Logf("%d bytes of heap a connection, both ends", per)
	if per > 24<<10 {
		t.Errorf("%d bytes of heap a connection", per)
	}
	runtime.KeepAlive(conns)
}
