package daemon

import (
	"flag"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/serialin"
	"github.com/tidegate/tidegate/internal/conf"
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

// unset returns the fields of a struct, and of those in it, that are zero.
func unset(v reflect.Value, path string) (all []string) {
	for i := range v.NumField() {
		switch f, name := v.Field(i), path+"."+v.Type().Field(i).Name; {
		case f.Kind() == reflect.Struct:
			all = append(all, unset(f, name)...)
		case f.IsZero():
			all = append(all, name)
		}
	}
	return all
}

// A key that is taken and leads nowhere is worse than one that is refused.
func TestEveryKeyOfALineReachesItsDoor(t *testing.T) {
	v, err := Default().vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	s := exampleSerial()
	s.Parity, s.FlowControl, s.RTS, s.DTR, s.Gap, s.Init, s.Confirm = "odd", "rts-cts", "low", "high", conf.Duration(time.Second), conf.Bytes("i"), conf.Bytes("c")
	s.RS485 = RS485{true, true, conf.Duration(time.Millisecond), conf.Duration(2 * time.Millisecond), true, true}
	s.Framing = Framing{
		Kind: "length", MaxFrame: 9, DropHalf: true, Delimiter: conf.Bytes("d"), Size: 3, Sync: conf.Bytes("s"), Trailer: conf.Bytes("t"),
		LengthBytes: 4, LengthOrder: "little", LengthOffset: 5, LengthAdjust: 6, KeepHeader: true,
		Start: conf.Bytes("a"), End: conf.Bytes("e"), Escape: conf.Bytes("x"), Escapes: "double", SumAfterEnd: true,
		Checksum: "crc8", Form: "hex", Separator: conf.Bytes("*"), SumFrom: 7,
	}
	s.Polls[0].Expect, s.AllowSend = conf.Bytes("x"), true
	door, _ := s.door(v)
	missing := unset(reflect.ValueOf(door), "door")
	missing = append(missing, unset(reflect.ValueOf(door.Polls[0]), "poll")...)
	left := map[string]bool{ // not of the configuration
		"door.Port.XONXOFF": true, "door.Port.WriteTimeout": true, "door.Port.Host.Dev": true, "door.Port.Host.Sys": true,
		"door.Port.Host.Proc": true, "door.Port.Host.Run": true,
	}
	for _, field := range missing {
		if !left[field] && !strings.HasPrefix(field, "door.Port.Expect.") {
			t.Errorf("%s is not set, whatever the configuration says", field)
		}
	}
	if p := door.Port; p.Parity != serialport.Odd || p.RTS != serialport.Low || p.DTR != serialport.High || p.RS485.DelayBefore != time.Millisecond {
		t.Errorf("%+v", p)
	}
	if s.FlowControl = "xon-xoff"; !s.port().XONXOFF || s.port().RTSCTS {
		t.Errorf("%+v", s.port())
	}
}

// Each counter has a place of its own in the status.
func TestEveryCounterOfALineIsInTheStatus(t *testing.T) {
	var st serialin.Stats
	next := uint64(1)
	var number func(v reflect.Value)
	number = func(v reflect.Value) {
		for i := range v.NumField() {
			switch f := v.Field(i); f.Kind() {
			case reflect.Struct:
				if f.Type() != reflect.TypeFor[time.Time]() {
					number(f)
				}
			case reflect.Uint64:
				f.SetUint(next)
				next *= 2
			}
		}
	}
	number(reflect.ValueOf(&st).Elem())
	var door dashboard.Door
	serialStatus(&door, nil, st)
	var shown uint64
	line := reflect.ValueOf(*door.Line)
	for i := range line.NumField() {
		if f := line.Field(i); f.Kind() == reflect.Uint64 {
			shown |= f.Uint()
		}
	}
	shown |= door.Opaque | door.Rejected | door.NotStored
	// Bytes are shown by what is wrong with them.
	shown |= st.Port.Received | st.Port.Sent | st.Scan.Frames | st.Scan.TooLong
	if shown != next-1 {
		t.Errorf("of %b, %b are shown", next-1, shown)
	}
}
