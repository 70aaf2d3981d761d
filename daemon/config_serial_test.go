package daemon

import (
	"flag"

	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/serialin"
	"github.com/tidegate/tidegate/internal/serialport"
)

// exampleSerial is the serial line of the example.
func exampleSerial() Serial {
	var s Serial
	s.SetDefaults()
	s.Name, s.Port = "boiler", "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0"
	var p SerialPoll
	p.SetDefaults()
	p.Request = []byte("T?\r\n")
	s.Polls = []SerialPoll{p}
	return s
}

// candidate is what a probe may find.
func candidate() serialin.Candidate {
	return serialin.Candidate{
		Sample:  serialin.Sample{Port: serialport.Config{Baud: 31250, DataBits: 7, Parity: serialport.Even}},
		Framing: frame.Config{Kind: frame.STXETX, Checksum: frame.XOR8, Envelope: frame.Envelope{SumAfterEnd: true}},
		Decoder: "raw",
	}
}

func noFlags() *flag.FlagSet { return flag.NewFlagSet("tidegate ports", flag.ContinueOnError) }
