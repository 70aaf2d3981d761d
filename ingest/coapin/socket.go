package coapin

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
)

const (
	// maxDatagram is the largest datagram that is read: a device that does not
	// know blocks may send its payload in one.
	maxDatagram = 64 << 10
	// receiveBuffer is how much the system keeps until it is read, if it may.
	receiveBuffer = 1 << 20
)

// socket is a UDP socket that knows where datagrams were sent to, and how many
// were lost because nobody read them in time.
type socket struct {
	*net.UDPConn
	// everywhere says that it listens on all addresses of this machine, so that
	// answers must say which one they come from.
	everywhere bool
	lost       atomic.Uint32 // as counted by the system
	overflowed *atomic.Uint64
}

func listen(ctx context.Context, address string, overflowed *atomic.Uint64) (*socket, error) {
	s := &socket{overflowed: overflowed}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error { return setOptions(raw) }}
	conn, err := config.ListenPacket(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	s.UDPConn = conn.(*net.UDPConn)
	s.everywhere = s.LocalAddr().(*net.UDPAddr).IP.IsUnspecified()
	if err := s.SetReadBuffer(receiveBuffer); err != nil {
		s.Close()
		return nil, fmt.Errorf("set receive buffer: %w", err)
	}
	return s, nil
}

// setOptions asks for what comes beside a datagram. Only one of the two families
// knows each option for addresses, so their errors mean nothing.
func setOptions(raw syscall.RawConn) error {
	var err error
	if e := raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RXQ_OVFL, 1)
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_PKTINFO, 1)
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVPKTINFO, 1)
	}); e != nil {
		return e
	}
	return err
}

// oobSize is room for what comes beside a datagram.
const oobSize = 128

// receive reads one datagram into b. It does not allocate.
func (s *socket) receive(b, oob []byte) (int, destination, error) {
	n, noob, _, from, err := s.ReadMsgUDPAddrPort(b, oob)
	if err != nil {
		return 0, destination{}, err
	}
	at := destination{addr: from}
	for rest := oob[:noob]; ; {
		level, what, data, more, ok := nextControl(rest)
		if !ok {
			return n, at, nil
		}
		switch {
		case level == syscall.SOL_SOCKET && what == syscall.SO_RXQ_OVFL && len(data) >= 4:
			s.countLost(binary.NativeEndian.Uint32(data))
		case !s.everywhere:
		case level == syscall.IPPROTO_IP && what == syscall.IP_PKTINFO && len(data) >= syscall.SizeofInet4Pktinfo:
			at.local = netip.AddrFrom4([4]byte(data[4:8])) // ipi_spec_dst, where answers come from
		case level == syscall.IPPROTO_IPV6 && what == syscall.IPV6_PKTINFO && len(data) >= syscall.SizeofInet6Pktinfo:
			if at.local = netip.AddrFrom16([16]byte(data[:16])); at.local.IsLinkLocalUnicast() || at.local.IsMulticast() {
				at.local = netip.Addr{} // the zone of the peer says more
			}
		}
		rest = more
	}
}

// countLost takes in the system's count, which is of 32 bits and begins with the
// socket.
func (s *socket) countLost(now uint32) {
	if before := s.lost.Swap(now); now != before {
		s.overflowed.Add(uint64(now - before))
	}
}

// nextControl takes the first control message apart, see cmsg(3).
func nextControl(b []byte) (level, what int32, data, rest []byte, ok bool) {
	if len(b) < syscall.SizeofCmsghdr {
		return 0, 0, nil, nil, false
	}
	var length int
	if syscall.SizeofCmsghdr == 16 { // cmsg_len is a size_t
		length = int(binary.NativeEndian.Uint64(b))
	} else {
		length = int(binary.NativeEndian.Uint32(b))
	}
	if length < syscall.SizeofCmsghdr || length > len(b) {
		return 0, 0, nil, nil, false
	}
	tail := b[syscall.SizeofCmsghdr-8:]
	level, what = int32(binary.NativeEndian.Uint32(tail)), int32(binary.NativeEndian.Uint32(tail[4:]))
	return level, what, b[syscall.SizeofCmsghdr:length], b[min(len(b), syscall.CmsgSpace(length-syscall.SizeofCmsghdr)):], true
}

// send implements carrier.
func (s *socket) send(b []byte, to destination) {
	if !to.local.IsValid() {
		_, _ = s.WriteToUDPAddrPort(b, to.addr) // what is lost here is lost as on the way
		return
	}
	var scratch [64]byte
	_, _, _ = s.WriteMsgUDPAddrPort(b, appendSource(scratch[:0], to.local), to.addr)
}

// appendSource appends the control message that lets a datagram come from an
// address of this machine.
func appendSource(b []byte, local netip.Addr) []byte {
	level, what, size := uint32(syscall.IPPROTO_IPV6), uint32(syscall.IPV6_PKTINFO), syscall.SizeofInet6Pktinfo
	if local.Is4() {
		level, what, size = syscall.IPPROTO_IP, syscall.IP_PKTINFO, syscall.SizeofInet4Pktinfo
	}
	if syscall.SizeofCmsghdr == 16 {
		b = binary.NativeEndian.AppendUint64(b, uint64(syscall.CmsgLen(size)))
	} else {
		b = binary.NativeEndian.AppendUint32(b, uint32(syscall.CmsgLen(size)))
	}
	b = binary.NativeEndian.AppendUint32(b, level)
	b = binary.NativeEndian.AppendUint32(b, what)
	if local.Is4() {
		from := local.As4()
		b = append(b, 0, 0, 0, 0) // ipi_ifindex: let the system choose
		b = append(b, from[:]...) // ipi_spec_dst
		b = append(b, 0, 0, 0, 0)
	} else {
		from := local.As16()
		b = append(append(b, from[:]...), 0, 0, 0, 0)
	}
	for len(b) < syscall.CmsgSpace(size) {
		b = append(b, 0)
	}
	return b
}
