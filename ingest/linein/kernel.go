package linein

import (
	"encoding/binary"
	"net"
	"syscall"
)

// oobSize is enough for what the kernel says beside a datagram: a header of 16
// bytes at the most, and 4.
const oobSize = 24

// deepen asks the kernel to hold size bytes of datagrams, and to tell how many it
// lost. It returns how many bytes it holds. More than net.core.rmem_max is
// granted to those with CAP_NET_ADMIN only.
func deepen(conn *net.UDPConn, size int) (granted int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // whose error is that of a closed socket
		socket := int(fd)
		if syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, size) != nil {
			_ = syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
		}
		_ = syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_RXQ_OVFL, 1)
		granted, _ = syscall.GetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_RCVBUF)
	})
	return granted / 2 // the kernel doubles it, for what it keeps beside the bytes
}

// TryDatagrams looks whether a door for datagrams could listen, and returns how
// many bytes of them the kernel would hold of the size that it is asked for.
func TryDatagrams(address string, size int) (granted int, err error) {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return deepen(conn.(*net.UDPConn), size), nil // as the network is udp
}

// overflow is how many datagrams the kernel has lost for want of room since the
// socket was opened. It tells that beside datagrams, in a number of 32 bits.
type overflow struct{ told uint32 }

// since returns how many were lost since it was asked last.
func (o *overflow) since(oob []byte) uint64 {
	// struct cmsghdr: a length of the size of a pointer, level, type, data.
	header := syscall.CmsgLen(0)
	if len(oob) < header+4 {
		return 0
	}
	level := binary.NativeEndian.Uint32(oob[syscall.SizeofCmsghdr-8:])
	kind := binary.NativeEndian.Uint32(oob[syscall.SizeofCmsghdr-4:])
	if level != syscall.SOL_SOCKET || kind != syscall.SO_RXQ_OVFL {
		return 0
	}
	now := binary.NativeEndian.Uint32(oob[header:])
	lost := now - o.told
	o.told = now
	return uint64(lost)
}
