package daemon

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/internal/conf"
)

func TestDoorsForLinesAreLookedAt(t *testing.T) {
	var free Line
	free.SetDefaults()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	server, err := net.Listen("tcp", porttest.For(t)) // which nobody else takes when it is closed
	if err != nil {
		t.Fatal(err)
	}
	look := func(change func(*Line)) Finding {
		k, l := &checklist{}, free
		l.Name = "meters"
		change(&l)
		k.lineDoors(t.Context(), []Line{l}, Gateway{Memory: 48 * conf.MiB, AdminSocket: filepath.Join(t.TempDir(), "admin.sock")})
		return only(t, k)
	}
	expect(t, look(func(l *Line) { l.Listen = "127.0.0.1:0" }), OK, "ingest.line:meters can listen")
	expect(t, look(func(l *Line) { l.Listen = server.Addr().String() }), Fail, "ingest.line:meters", "the port is taken")
	expect(t, look(func(l *Line) { l.Transport, l.Listen, l.ReceiveBuffer = "udp", "127.0.0.1:0", 64*conf.KiB }), OK, "ingest.line:meters can listen")
	expect(t, look(func(l *Line) { l.Transport, l.Listen, l.ReceiveBuffer = "udp", udp.LocalAddr().String(), 64*conf.KiB }), Fail, "the UDP port is taken", "ss -lunp")
	many := &checklist{}
	many.lineClients("ingest.line:meters", Line{MaxClients: 1024, Framing: Framing{MaxFrame: conf.MiB}}, Gateway{Memory: 48 * conf.MiB})
	expect(t, only(t, many), Warn, "gateway.memory", "2059 MiB")
	k, deep := &checklist{}, Line{Name: "meters", Listen: "127.0.0.1:0", ReceiveBuffer: conf.TiB}
	k.deep("ingest.line:meters", deep)
	expect(t, only(t, k), Warn, "ingest.line:meters", "net.core.rmem_max")
	expect(t, look(func(l *Line) { l.Connect = server.Addr().String() }), OK, "answers")
	server.Close()
	expect(t, look(func(l *Line) { l.Connect = server.Addr().String() }), Warn, "out of reach")
	expect(t, look(func(l *Line) { l.Connect, l.ConnectTLS, l.ServerCA = "127.0.0.1:1", true, "/nowhere/ca.pem" }), Fail, "/nowhere/ca.pem")
}
