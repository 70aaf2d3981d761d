package daemon

import (
	"flag"
	"strings"
	"testing"

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

func TestSettingsOfALineThatCannotWorkTogetherAreRefused(t *testing.T) {
	const line = "[[ingest.serial]]\nname = \"a\"\nport = \"/dev/ttyS1\"\n"
	for want, text := range map[string]string{
		"flow_control: xon-xoff takes the bytes 11 and 13":   "flow_control = \"xon-xoff\"\nframing.kind = \"cobs\"\n",
		"data_bits: framing slip needs bytes of 8 bits":      "data_bits = 7\nframing.kind = \"slip\"\n",
		"data_bits: framing fixed with crc16-modbus needs":   "data_bits = 7\nframing = {kind = \"fixed\", size = 8, checksum = \"crc16-modbus\"}\n",
		"gap: 5ms is over before the next byte is there":     "baud = 300\ngap = \"5ms\"\nframing.kind = \"gap\"\n",
		"confirm: the gateway would hear the frame":          "confirm = '{frame}\\r\\n'\nrs485 = {enabled = true, receive_while_sending = true}\n",
		"decode: \"nmea\" refuses sentences":                 "decode = \"nmea\"\nframing.checksum = \"nmea\"\n",
		"decode: \"gps\" refuses sentences":                  "decode = \"gps\"\nframing.checksum = \"nmea\"\n[[decoder.nmea]]\nname = \"gps\"\n",
		"poll[0].decode: \"nmea\" refuses sentences":         "framing.checksum = \"nmea\"\n[[ingest.serial.poll]]\nrequest = \"x\"\ndecode = \"nmea\"\n",
		"xon-xoff takes the bytes 11 and 13 out of the line": "flow_control = \"xon-xoff\"\nframing = {kind = \"stx-etx\", checksum = \"xor8\", checksum_after_end = true}\n",
	} {
		if _, err := Parse("c.toml", []byte(line+text)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%s%v\nwant %q and a hint", text, err, want)
		}
	}
	for _, text := range []string{
		// Meters of IEC 62056-21.
		"data_bits = 7\nparity = \"even\"\nframing = {kind = \"stx-etx\", checksum = \"xor8\", checksum_after_end = true}\n",
		"flow_control = \"xon-xoff\"\nframing.checksum = \"nmea\"\n",
		"flow_control = \"xon-xoff\"\nframing = {checksum = \"crc16-modbus\", checksum_form = \"hex\"}\n",
		"decode = \"gps\"\nframing.checksum = \"nmea\"\n[[decoder.nmea]]\nname = \"gps\"\nno_checksum = true\n",
		"gap = \"2ms\"\nframing.kind = \"gap\"\n",
	} {
		if _, err := Parse("c.toml", []byte(line+text)); err != nil {
			t.Errorf("%s%v", text, err)
		}
	}
}
