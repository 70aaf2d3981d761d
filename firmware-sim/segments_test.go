package firmwaresim

import (
	"io"
	"net"
	"testing"
)

func TestSegmentsAreCountedAsOnEthernet(t *testing.T) {
	const sent = 1 << 20
	link := startLink(t, farSide(t, echo))
	if err := link.Ethernet(); err != nil {
		t.Fatal(err)
	}
	conn := dialLink(t, link)
	roundTrip(t, conn, sent)
	open, back := link.Segments()
	if least := int64(sent / ethernetMSS); open < least || back < least {
		t.Fatalf("%d segments up and %d down carried %d bytes each way: at least %d are needed", open, back, sent, least)
	}
	// Acknowledgements of the other direction, one a segment at the most.
	if most := int64(3 * sent / 1000); open > most || back > most {
		t.Fatalf("%d segments up and %d down for %d bytes each way", open, back, sent)
	}
	conn.CloseWrite()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Fatal(err)
	}
	up, down := link.Segments()
	if up < open || down < back || up > open+10 || down > back+10 {
		t.Fatalf("a closed connection had %d and %d segments, %d and %d while it was open", up, down, open, back)
	}
}

func TestRefusedConnectionsHaveNoSegments(t *testing.T) {
	link := startLink(t, farSide(t, echo))
	link.Cut()
	if conn, err := net.Dial("tcp", link.Addr()); err == nil {
		io.Copy(io.Discard, conn) // until it is reset
		conn.Close()
	}
	if up, down := link.Segments(); up != 0 || down != 0 {
		t.Fatalf("%d up, %d down", up, down)
	}
}
