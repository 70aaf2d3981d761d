package cloud

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// BenchmarkIdleStreams is what a WebSocket costs the cloud while nothing comes over
// it, in memory of heap and stacks. The other ends are bare connections.
func BenchmarkIdleStreams(b *testing.B) {
	const streams = 500
	server := serve(b, openStore(b), ReceiverConfig{})
	address := strings.TrimPrefix(server.URL, "http://")
	for b.Loop() {
		before := inUse()
		conns := make([]net.Conn, 0, streams)
		for range streams {
			conns = append(conns, bareStream(b, address))
		}
		b.ReportMetric(float64(inUse()-before)/streams, "B/stream")
		for _, c := range conns {
			c.Close()
		}
	}
}

func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

func bareStream(b *testing.B, address string) net.Conn {
	b.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Fprintf(c, "GET /v1/ingest HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", address, StreamProtocol)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		b.Fatalf("%v %v", resp, err)
	}
	return c
}
