package firmwaresim

import (
	"bufio"
	"net"
	"testing"
)

// ackServer acknowledges every QoS 1 publish at once and keeps nothing: the
// ceiling that the generator is measured against.
func ackServer(tb testing.TB) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go acknowledge(conn)
		}
	}()
	tb.Cleanup(func() {
		listener.Close()
		<-done
	})
	return listener.Addr().String()
}

func acknowledge(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 64<<10)
	var acks []byte
	for {
		if in.Buffered() == 0 && len(acks) > 0 {
			if _, err := conn.Write(acks); err != nil {
				return
			}
			acks = acks[:0]
		}
		head, err := in.Peek(2)
		if err != nil {
			return
		}
		whole := 2 + int(head[1])
		if head[1] > 0x7f {
			if head, err = in.Peek(3); err != nil {
				return
			}
			whole = 3 + int(head[1]&0x7f) + int(head[2])<<7
		}
		packet, err := in.Peek(whole)
		if err != nil {
			return
		}
		switch packet[0] & 0xf0 {
		case packetConnect:
			acks = append(acks, packetConnack, 2, 0, 0)
		case packetPublish:
			header := 2
			if packet[1] > 0x7f {
				header = 3
			}
			topic := int(packet[header])<<8 | int(packet[header+1])
			acks = append(acks, packetPuback, 2, packet[header+2+topic], packet[header+3+topic])
		}
		in.Discard(whole)
	}
}
