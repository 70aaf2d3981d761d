package netcheck

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// OfName is about the name of a host: servers were asked, and found addrs or err.
func OfName(host string, servers []string, addrs []netip.Addr, err error) Finding {
	asked := "this machine's own list of hosts"
	if len(servers) > 0 {
		asked = strings.Join(servers, ", ")
	}
	if err == nil {
		return named(host, asked, servers, addrs)
	}
	const wire = "check the cable or the modem, and the dns of this [[link]] or of the network"
	dns, ok := errors.AsType[*net.DNSError](err)
	switch {
	case ok && dns.IsNotFound && strings.Contains(dns.Err, "kind"):
		return Wrong("check source of this [[link]]", "the host %s has %s", host, dns.Err)
	case ok && dns.IsNotFound:
		return Wrong("is there a slip in the name? Check the url; a network without internet may not know it either", "there is no host %s, says %s", host, asked)
	case ok && strings.Contains(dns.Err, "misbehaving"):
		return Wrong(wire, "the name server cannot say where %s is: it is out of order, or refuses this gateway (asked: %s)", host, asked)
	case ok:
		return Wrong(wire, "no name server answers, so nobody can say where %s is (asked: %s)", host, asked)
	}
	what, hint := Cut(err)
	return Wrong(cmp.Or(hint, wire), "the host %s cannot be looked up (asked: %s): %s", host, asked, what)
}

// named says where a host is.
func named(host, asked string, servers []string, addrs []netip.Addr) Finding {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	where := strings.Join(all, ", ")
	if where == host {
		return Fine("%s is an address: nobody needs to be asked", host)
	}
	if len(servers) > 0 && strings.Contains(host, ".") && !strings.HasSuffix(host, ".local") && len(addrs) > 0 && (addrs[0].IsLoopback() || addrs[0].IsUnspecified()) {
		return Weak("is this meant? A network with a login page or a filter answers like that", "the host %s is %s, which is this machine itself (asked: %s)", host, where, asked)
	}
	return Fine("the host %s is %s (asked: %s)", host, where, asked)
}

// OfOldName is about a name whose servers do not say it now, so that what they said
// before is used.
func OfOldName(host string, addrs []netip.Addr, ago time.Duration, err error) Finding {
	what, _ := Cut(err)
	return Weak("check the dns of this [[link]] or of the network", "no name server knows %s now; its address of %v ago is used (%s)", host, ago.Round(time.Second), what)
}

// OfConnect is about a connection that could not be made to address.
func OfConnect(address string, err error, waited time.Duration) Finding {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Wrong("check the port in the url, and whether the server runs", "%s refuses the connection: the machine is there, but nothing listens on that port", address)
	case isAny(err, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.ENONET):
		return Wrong("check the cable or the modem, and the gateway's address and route: \"ip route\"", "there is no way to %s from here (%s)", address, reason(err))
	case isAny(err, syscall.EADDRNOTAVAIL, syscall.ENODEV):
		return Wrong("check interface and source of this [[link]]: \"ip -brief address\"", "this machine does not have the address or the interface to leave by (%s)", reason(err))
	case isAny(err, syscall.EACCES, syscall.EPERM):
		return Wrong("check the firewall of this machine: \"nft list ruleset\"", "this machine does not let the gateway connect to %s (%s)", address, reason(err))
	case isAny(err, syscall.ECONNRESET):
		return Wrong("is the port open for this network? Ask who runs its firewall", "%s cuts the connection at once: a firewall does that", address)
	case isTimeout(err):
		return Wrong("is the machine on, and does a firewall here or there drop this port? Ask who runs them", "%s does not answer within %v: nobody refuses, nothing comes back", address, max(waited, time.Second).Round(time.Second))
	}
	what, hint := Cut(err)
	return Wrong(cmp.Or(hint, "check the url"), "%s cannot be reached: %s", address, what)
}

// reason is the last word of an error.
func reason(err error) string {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e.Error()
	}
	what, _ := Cut(err)
	return what
}

func isAny(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// OfListener is about who can reach an address that is listened on: only this
// machine if it is one of its own.
func OfListener(address string) Finding {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return Weak("", "%s is no address", address)
	}
	a, err := netip.ParseAddr(host)
	switch {
	case host == "localhost" || err == nil && a.IsLoopback():
		return Weak(fmt.Sprintf("for sensors elsewhere set listen to \"0.0.0.0:%s\", or to the address of one interface, with users or TLS", port),
			"only programs on this machine can reach %s", address)
	case host == "" || err == nil && a.IsUnspecified():
		return Fine("every machine that reaches this one can connect to port %s", port)
	}
	return Fine("every machine that reaches %s can connect to port %s", host, port)
}
