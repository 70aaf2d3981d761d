package mqttin

import "net"

// The server itself bounds none of these.
const (
	// maxSubscriptions is how many filters a client may subscribe to, and
	// maxFilterLength how many bytes they may have together.
	maxSubscriptions = 64
	maxFilterLength  = 64 << 10
	// maxExchanges is how many QoS 2 exchanges a client may have begun and not
	// ended. It is told of fewer: many send all that they have, whatever it is.
	maxExchanges = 4096
)

// host is the part of a connection's address that its peer cannot choose anew
// for every connection.
func host(nc net.Conn) string {
	address := nc.RemoteAddr().String()
	if name, _, err := net.SplitHostPort(address); err == nil {
		return name
	}
	return address
}
