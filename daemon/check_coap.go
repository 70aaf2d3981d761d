package daemon

import (
	"net"
	"os"
	"strings"
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
	if err != nil {
		what, hint, told := strings.Cut(err.Error(), " — hint: ")
		if !told {
			hint = "check the path, and let the user who runs the gateway read the file"
		}
		k.fail(hint, "ingest.coap: %s", what)
		return
	}
	if info, err := os.Stat(c.PSKFile); err == nil && isOpen(info) {
		k.warn("chmod 600 "+c.PSKFile, "ingest.coap: others on this machine can use %s, which has keys", c.PSKFile)
		return
	}
	if keys.Len() == 0 {
		k.warn("add a line for each device: its identity, a colon and its key in hexadecimal", "ingest.coap: %s has no keys", c.PSKFile)
		return
	}
	k.ok("ingest.coap: keys in %s: %d", c.PSKFile, keys.Len())
}
