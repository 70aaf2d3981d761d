package daemon

import (
	"net"
	"time"
)

// coapPatience is how long a CoAP client waits before it sends again: ACK_TIMEOUT
// of RFC 7252 §4.8.
const coapPatience = 2 * time.Second

// coap looks at the door for devices that speak CoAP. It says nothing of one that
// is off, as it is by default.
func (k *checklist) coap(c CoAP, ackDelay time.Duration, adminSocket string) {
	if (c.Listen != "" || c.DTLSListen != "") && ackDelay >= coapPatience {
		k.warn("set buffer.max_ack_delay to a second or less", "ingest.coap: an acknowledgement may take %v, and devices send again after %v", ackDelay, coapPatience)
	}
	if c.Listen != "" {
		k.datagrams("ingest.coap", c.Listen, adminSocket)
		k.ok("ingest.coap lets everybody in who reaches it")
	}
	if c.DTLSListen != "" {
		k.datagrams("ingest.coap (dtls)", c.DTLSListen, adminSocket)
		k.keysFile(c)
	}
}

// datagrams is listener for UDP.
func (k *checklist) datagrams(key, listen, adminSocket string) {
	if k.offline {
		return
	}
	conn, err := net.ListenPacket("udp", listen)
	if err == nil {
		conn.Close()
		k.ok("%s can listen on %s, UDP", key, listen)
		return
	}
	k.cannotListen(err, key, listen, adminSocket, udpPort)
}

func (k *checklist) keysFile(c CoAP) {
	keys, err := c.keys()
	k.list(guests{
		table: "ingest.coap", path: c.PSKFile, of: "keys",
		unread: "check the path, and let the user who runs the gateway read the file",
		add:    "add a line for each device: its identity, a colon and its key in hexadecimal",
	}, keys, err)
}
