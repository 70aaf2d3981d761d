//go:build !race

package mqttin

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Idle connections give their memory back: ten thousand of them fit into 300 MiB.
func TestIdleConnectionsAreSmall(t *testing.T) {
	src := start(t, instant(), Config{})
	connect(t, src, 4, "first")
	const clients = 500
	heapBefore, stackBefore, goroutines := heap(), stack(), runtime.NumGoroutine()
	conns := make([]*client, clients)
	for i := range conns {
		conns[i] = connect(t, src, 4, fmt.Sprint("c", i))
		conns[i].publish("home/kitchen/temp", strings.Repeat("1", 1000), 1, 1)
		conns[i].expect(packets.Puback, 1)
	}
	perHeap, perStack := (heap()-heapBefore)/clients, (stack()-stackBefore)/clients
	t.Logf("a connection: %d bytes of heap, both ends, and %d of stacks", perHeap, perStack)
	if perHeap > 18<<10 {
		t.Errorf("%d bytes of heap a connection", perHeap)
	}
	if perStack > 23<<10 {
		t.Errorf("%d bytes of stacks a connection", perStack)
	}
	if n := (runtime.NumGoroutine() - goroutines) / clients; n > 2 {
		t.Errorf("%d goroutines a connection", n)
	}
	runtime.KeepAlive(conns)
}

func stack() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.StackInuse)
}

// Thousands may say something at the same moment, when a gateway comes back, and
// each is read into memory of its own: what most of them say fits into little.
func TestManyWhoSpeakAtOnceCostLittle(t *testing.T) {
	custody := &stuckCustody{instant(), make(chan struct{})}
	src := start(t, custody, Config{})
	defer close(custody.release)
	const clients = 300
	conns := make([]*client, clients)
	for i := range conns {
		conns[i] = connect(t, src, 4, fmt.Sprint("c", i))
	}
	before, read := heap(), src.Stats().Bytes
	for _, c := range conns {
		c.publish("d", "21.5", 1, 1)
	}
	message := uint64(len(conns[0].encode(publishPacket("d", "21.5", 1, 1))))
	retry(t, func() bool { return src.Stats().Bytes == read+clients*message })
	if grown := (heap() - before) / clients; grown > 6<<10 {
		t.Errorf("heap grew by %d bytes a connection", grown)
	}
	runtime.KeepAlive(conns)
}
