package carrier

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What headers take, in bytes.
const (
	ip4Header  = 20
	ip6Header  = 40
	udpHeader  = 8
	tcpHeader  = 20
	timestamps = 12 // the option of every segment, with its padding
	synOptions = 20 // segment size, SACK, timestamps, window scale: Linux sends all of them
	usualMSS   = 1400
)

// TCPI_OPT_* of linux/tcp.h.
const (
	tcpOptTimestamps = 1
	tcpOptSACK       = 2
	tcpOptWindow     = 4
)

// The states of linux/tcp_states.h in which closing costs segments.
const (
	tcpEstablished = 1
	tcpCloseWait   = 8
)

// passed is what has passed over the wire at the IP level: what an operator
// counts.
type passed struct{ sent, received int64 }

func (p passed) minus(o passed) passed { return passed{p.sent - o.sent, p.received - o.received} }

// meter counts what one connection costs.
//
// The kernel knows it best: TCP_INFO has every segment, retransmissions and bare
// acknowledgements included, and every byte in them. It lacks the headers, whose
// size is known, and what is lost before it arrives or arrives twice. What has no
// TCP_INFO is estimated from the bytes that the program has written and read.
type meter struct {
	ip     int64           // size of the IP header
	raw    syscall.RawConn // nil if there is no TCP_INFO
	stream bool            // TCP
	// payload is what the program has written and read, in bytes; writes and
	// reads are how often, which is what a datagram costs a header.
	payload       passed
	writes, reads int64
}

func newMeter(c net.Conn) meter {
	m := meter{ip: ipHeader(c.RemoteAddr())}
	if tcp, ok := c.(*net.TCPConn); ok {
		m.raw, _ = tcp.SyscallConn()
	}
	_, datagrams := c.(net.PacketConn)
	m.stream = !datagrams
	return m
}

func ipHeader(a net.Addr) int64 {
	var ip net.IP
	switch a := a.(type) {
	case *net.TCPAddr:
		ip = a.IP
	case *net.UDPAddr:
		ip = a.IP
	}
	if len(ip) == net.IPv6len && ip.To4() == nil {
		return ip6Header
	}
	return ip4Header
}

// info returns the kernel's TCP_INFO, or nil where there is none that counts
// bytes: Linux before 4.19.
func (m *meter) info() (info *unix.TCPInfo) {
	if m.raw == nil {
		return nil
	}
	_ = m.raw.Control(func(fd uintptr) { info, _ = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if info == nil || !countsBytes(info) {
		return nil
	}
	return info
}

// countsBytes tells the kernels that count bytes and segments from those before.
func countsBytes(info *unix.TCPInfo) bool {
	return info.Segs_out > 0 && (info.Bytes_sent > 0 || info.Data_segs_out == 0)
}

// total returns what the connection has cost so far. closing says that it is
// about to be closed, and adds what that costs.
func (m *meter) total(info *unix.TCPInfo, closing bool) passed {
	switch {
	case info != nil:
		return m.counted(info, closing)
	case m.stream:
		return m.estimated(closing)
	}
	return passed{
		m.payload.sent + m.writes*(m.ip+udpHeader),
		m.payload.received + m.reads*(m.ip+udpHeader),
	}
}

// counted is what the kernel has counted.
func (m *meter) counted(info *unix.TCPInfo, closing bool) passed {
	header, option := m.ip+tcpHeader, int64(0)
	if info.Options&tcpOptTimestamps != 0 {
		option = timestamps
	}
	answer := int64(4) // the options of the SYN that came back: segment size, and what both sides have
	if info.Options&tcpOptWindow != 0 {
		answer += 4
	}
	if info.Options&(tcpOptTimestamps|tcpOptSACK) != 0 {
		answer += max(option, 4)
	}
	p := passed{
		sent:     int64(info.Bytes_sent) + int64(info.Segs_out)*(header+option) + synOptions - option,
		received: int64(info.Bytes_received) + int64(info.Segs_in)*(header+option) + answer - option,
	}
	if info.Segs_in == 0 {
		p.received = 0
	}
	if !closing {
		return p
	}
	segment := header + option
	switch info.State {
	case tcpEstablished: // FIN, theirs with an acknowledgement, and ours of it
		p.sent, p.received = p.sent+2*segment, p.received+segment
	case tcpCloseWait: // our FIN, and its acknowledgement
		p.sent, p.received = p.sent+segment, p.received+segment
	default:
		return p
	}
	p.received += int64(info.Unacked+1) / 2 * segment
	if left := int64(info.Notsent_bytes); left > 0 {
		segments := (left + int64(max(info.Snd_mss, 1)) - 1) / int64(max(info.Snd_mss, 1))
		p.sent += left + segments*segment
		p.received += (segments + 1) / 2 * segment
	}
	return p
}

// estimated is what a TCP connection costs on a link that loses nothing: a
// header for each full segment, and an acknowledgement for every second one.
func (m *meter) estimated(closing bool) passed {
	segment := m.ip + tcpHeader + timestamps
	segments := func(n int64) int64 { return (n + usualMSS - 1) / usualMSS }
	out, in := segments(m.payload.sent), segments(m.payload.received)
	p := passed{
		sent:     m.payload.sent + (out+(in+1)/2+2)*segment + synOptions - timestamps,
		received: m.payload.received + (in+(out+1)/2+1)*segment + synOptions - timestamps,
	}
	if closing {
		p.sent, p.received = p.sent+2*segment, p.received+segment
	}
	return p
}

// failedDial estimates what a connection costs that was never made: a SYN at
// once, and again after 1, 3, 7 and so on seconds; and the answer, if there was
// one.
func failedDial(ip int64, took time.Duration, answered bool) passed {
	syns := int64(1)
	for wait := time.Second; took >= wait && syns < 8; wait = 2*wait + time.Second {
		syns++
	}
	p := passed{sent: syns * (ip + tcpHeader + synOptions)}
	if answered {
		p.received = ip + tcpHeader
	}
	return p
}
