package daemon

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/ingest/linein"
	"github.com/tidegate/tidegate/internal/conf"
)

// lines looks at the doors for lines.
func (k *checklist) lines(ctx context.Context, all []Line, g Gateway, now time.Time) {
	for _, l := range all {
		key := "ingest.line " + l.Name
		switch {
		case l.Connect != "":
			k.deviceServer(ctx, key, l)
		case l.Transport == "udp":
			k.datagrams(key, l, g.SocketPath())
		default:
			k.listener(key, l.Listen, g.SocketPath())
			k.lineClients(key, l)
		}
		if l.TLSCert != "" {
			k.tlsFiles(key, l.tlsFiles(), now)
		}
	}
}

// lineClients looks at whether this machine has room for all of them.
func (k *checklist) lineClients(key string, l Line) {
	if most := descriptors(); l.MaxClients+descriptorsForOthers > most {
		k.warn("raise LimitNOFILE= of the service, or lower max_clients",
			"%s: %d file descriptors do not suffice for %d clients", key, most, l.MaxClients)
	}
}

// datagrams checks that the port is free, and that the kernel holds as much as it
// is asked to: while custody takes its time, that is what datagrams wait in.
func (k *checklist) datagrams(key string, l Line, adminSocket string) {
	granted, err := linein.TryDatagrams(l.Listen, int(l.ReceiveBuffer))
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && answers(adminSocket):
		k.ok("%s listens on %s already: the gateway is running", key, l.Listen)
	case errors.Is(err, syscall.EADDRINUSE):
		_, port, _ := net.SplitHostPort(l.Listen)
		k.fail(`see who has it with "ss -lunp sport = :`+port+`", or choose another port`, "%s cannot listen on %s: the port is taken", key, l.Listen)
	case err != nil:
		k.fail("write an address of this machine, or 0.0.0.0 for all of them", "%s cannot listen: %v", key, err)
	case granted < int(l.ReceiveBuffer):
		k.warn("raise net.core.rmem_max with sysctl, or lower receive_buffer", "%s: the kernel holds %s of datagrams, not %s", key, conf.Size(granted), l.ReceiveBuffer)
	default:
		k.ok("%s can listen on %s", key, l.Listen)
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
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.Connect)
	if err != nil {
		k.warn("check that the device server is on, and the address; many serve one client at a time, which may be the gateway", "%s: %s is out of reach: %v", key, l.Connect, err)
		return
	}
	conn.Close()
	k.ok("%s: %s answers", key, l.Connect)
}
