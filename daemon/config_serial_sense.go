package daemon

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/ingest/serialin"
)

// validateSense refuses settings that are allowed one by one, and with which no
// frame, or not every one, can arrive.
func (s Serial) validateSense(r refuse, key string) {
	// Which bytes a checksum is written in: those of text, or any.
	binary := s.Framing.Checksum != "none" && s.Framing.Checksum != "nmea" && s.Framing.Form != "hex"
	if s.FlowControl == "xon-xoff" && (binary || s.Framing.Kind == "cobs" || s.Framing.Kind == "length") {
		r(key+".flow_control", `use rts-cts or none, or a framing of text`,
			"xon-xoff takes the bytes 11 and 13 out of the line, which framing %s needs", s.Framing)
	}
	// The exclusive or of characters of seven bits has seven bits.
	if s.DataBits < 8 && (s.Framing.Kind == "slip" || binary && s.Framing.Checksum != "xor8") {
		r(key+".data_bits", "use 8, or a framing of text", "framing %s needs bytes of 8 bits, and has %d", s.Framing, s.DataBits)
	}
	if char := s.port().CharTime(); s.Gap != 0 && time.Duration(s.Gap) < char*3/2 {
		r(key+".gap", "leave it out for 3.5 characters, and 20ms at least",
			"%v is over before the next byte is there: one takes %v at %d baud", s.Gap, char.Round(time.Microsecond), s.Baud)
	}
	if strings.TrimSpace(string(s.Confirm)) == serialin.Frame && s.RS485.ReceiveWhileSending {
		r(key+".confirm", "write for example 'OK {frame}\\r\\n', or leave receive_while_sending out",
			"the gateway would hear the frame that it confirms with, and confirm that, without end")
	}
}

// validateSentences refuses to take the checksums off sentences whose decoder then
// refuses them, for want of a checksum.
func (c Config) validateSentences(r refuse) {
	wanted := []string{"nmea"}
	for _, d := range c.Decoder.NMEA {
		if !d.NoChecksum {
			wanted = append(wanted, d.Name)
		}
	}
	for i, s := range c.Ingest.Serial {
		decoders := map[string]string{"decode": s.Decode}
		for j, p := range s.Polls {
			decoders[fmt.Sprintf("poll[%d].decode", j)] = p.Decode
		}
		for key, name := range decoders {
			if s.Framing.Checksum == "nmea" && slices.Contains(wanted, name) {
				r(fmt.Sprintf("ingest.serial[%d].%s", i, key), "take checksum out of the framing: the decoder looks at it",
					"%q refuses sentences without their checksum, which the framing takes off", name)
			}
		}
	}
}
