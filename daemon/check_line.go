package daemon

import (
	"context"
	"net"

	"github.com/tidegate/tidegate/ingest/linein"
	"github.com/tidegate/tidegate/internal/conf"
)

// lineDoors looks at the doors for lines.
func (k *checklist) lineDoors(ctx context.Context, all []Line, g Gateway) {
	for _, l := range all {
		key := "ingest." + l.doorName()
		switch {
		case l.Connect != "":
			k.deviceServer(ctx, key, l)
		case l.Transport == "udp":
			k.datagrams(key, l.Listen, g.SocketPath())
			k.deep(key, l)
		default:
			k.listener(key, l.Listen, g.SocketPath())
			k.lineClients(key, l, g)
		}
	}
}

// lineClients looks at whether this machine has room for all of them.
func (k *checklist) lineClients(key string, l Line, g Gateway) {
	if most := descriptors(); l.MaxClients+descriptorsForOthers > most {
		k.warn("raise LimitNOFILE= of the service, or lower max_clients",
			"%s: %d file descriptors do not suffice for %d clients", key, most, l.MaxClients)
	}
	if need := int64(l.MaxClients) * (memoryPerLine + 2*int64(l.Framing.MaxFrame)); need > int64(g.Memory) {
		k.warn("raise gateway.memory, or lower max_clients or framing.max_frame",
			"%s: %d clients in the middle of their longest frames take %d MiB, and gateway.memory is %s", key, l.MaxClients, need>>20, g.Memory)
	}
}

// memoryPerLine is what a connection takes that says nothing, in bytes. A frame
// that has begun may take twice its length.
const memoryPerLine = 11 << 10

// deep warns when the kernel does not hold as much as it is asked to: that is what
// datagrams wait in while the gateway is busy.
func (k *checklist) deep(key string, l Line) {
	host, _, err := net.SplitHostPort(l.Listen)
	if err != nil || k.offline {
		return
	}
	granted, err := linein.TryDatagrams(net.JoinHostPort(host, "0"), int(l.ReceiveBuffer))
	if err == nil && granted < int(l.ReceiveBuffer) {
		k.warn("raise net.core.rmem_max with sysctl, or lower receive_buffer", "%s: the kernel holds %s of datagrams, not %s", key, conf.Size(granted), l.ReceiveBuffer)
	}
}

// deviceServer connects as the door would, and no further. One that is out of
// reach is no failure: it is dialled again and again.
func (k *checklist) deviceServer(ctx context.Context, key string, l Line) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if l.ConnectTLS {
		if _, err := l.clientTLS(); err != nil {
			k.fail("check the path in server_ca, and let the user who runs the gateway read it", "%s: %v", key, err)
			return
		}
	}
	if k.offline {
		return
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.Connect)
	if err != nil {
		k.warn("check that the device server is on, and the address; many serve one client at a time, which may be the gateway", "%s: %s is out of reach: %v", key, l.Connect, err)
		return
	}
	conn.Close()
	k.ok("%s: %s answers", key, l.Connect)
}
