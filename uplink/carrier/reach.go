package carrier

import (
	"net"
	"net/netip"
)

// reach is what the machine has for a link: an interface and its addresses.
type reach interface {
	// up says whether packets can leave; why is a sentence if they cannot.
	up() (ok bool, why string)
	// address returns an address of the interface of the family of a, if any.
	address(like netip.Addr) (netip.Addr, bool)
}

// machine is the reach of the machine that this runs on.
type machine struct {
	name   string
	source netip.Addr
}

func (m machine) up() (ok bool, why string) {
	if m.name != "" {
		i, err := net.InterfaceByName(m.name)
		switch {
		case err != nil:
			return false, "there is no interface " + m.name
		case i.Flags&net.FlagUp == 0:
			return false, m.name + " is switched off"
		case i.Flags&net.FlagRunning == 0:
			return false, m.name + " has no carrier"
		}
	}
	if m.source.IsValid() && !m.has(m.source) {
		return false, "no interface has the address " + m.source.String()
	}
	return true, ""
}

func (m machine) has(a netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // nobody knows
	}
	for _, other := range addrs {
		if p, err := netip.ParsePrefix(other.String()); err == nil && p.Addr().WithZone("") == a.WithZone("") {
			return true
		}
	}
	return false
}

func (m machine) address(like netip.Addr) (netip.Addr, bool) {
	i, err := net.InterfaceByName(m.name)
	if err != nil {
		return netip.Addr{}, false
	}
	addrs, err := i.Addrs()
	if err != nil {
		return netip.Addr{}, false
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() == like.Unmap().Is4() && p.Addr().IsLinkLocalUnicast() == like.IsLinkLocalUnicast() {
			return p.Addr(), true
		}
	}
	return netip.Addr{}, false
}
