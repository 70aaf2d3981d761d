package firmwaresim

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"
)

// The check values are those of the catalogue of CRC algorithms, the frame is the
// example of the Modbus specification for function 3 with its usual CRC.
func TestSumsAreThoseOfTheirStandards(t *testing.T) {
	check := []byte("123456789")
	if crc16Modbus(check) != 0x4B37 || crc16CCITT(check) != 0x29B1 {
		t.Errorf("%04X %04X", crc16Modbus(check), crc16CCITT(check))
	}
	if crc := crc16Modbus(bytesOf(t, "11 03 00 6B 00 03")); crc != 0x8776 {
		t.Errorf("%04X", crc)
	}
	if sum := xor8([]byte("GPGLL,5300.97914,N,00259.98174,E,125926,A")); sum != 0x28 {
		t.Errorf("%02X", sum)
	}
}

func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func count(from, to int) (b []byte) {
	for c := from; c <= to; c++ {
		b = append(b, byte(c))
	}
	return b
}

func TestStuffing(t *testing.T) {
	for _, c := range []struct{ in, want []byte }{
		{nil, []byte{1, 0}},
		{[]byte{0}, []byte{1, 1, 0}},
		{[]byte{0, 0}, []byte{1, 1, 1, 0}},
		{[]byte{0x11, 0x22, 0, 0x33}, []byte{3, 0x11, 0x22, 2, 0x33, 0}},
		{[]byte{0x11, 0, 0, 0}, []byte{2, 0x11, 1, 1, 1, 0}},
		{count(1, 0xFE), append(append([]byte{0xFF}, count(1, 0xFE)...), 0)},
		{count(0, 0xFE), append(append([]byte{1, 0xFF}, count(1, 0xFE)...), 0)},
		{count(1, 0xFF), append(append([]byte{0xFF}, count(1, 0xFE)...), 2, 0xFF, 0)},
		{append(count(2, 0xFF), 0), append(append([]byte{0xFF}, count(2, 0xFF)...), 1, 1, 0)},
		{append(count(3, 0xFF), 0, 1), append(append([]byte{0xFE}, count(3, 0xFF)...), 2, 1, 0)},
	} {
		if got := appendCOBS(nil, c.in); !bytes.Equal(got, c.want) {
			t.Errorf("COBS of % X is % X, want % X", c.in, got, c.want)
		}
	}
	if got := appendSLIP(nil, []byte{1, 0xC0, 2, 0xDB, 3}); !bytes.Equal(got, []byte{0xC0, 1, 0xDB, 0xDC, 2, 0xDB, 0xDD, 3, 0xC0}) {
		t.Errorf("% X", got)
	}
}

// measured is a sample below zero.
func measured() Measurement {
	return Measurement{Seq: 12639000, At: time.UnixMilli(1_700_000_000_123), Temp: -7, Hum: 401, Bat: 370, RSSI: -60, Lux: 192}
}

func TestLinesOfText(t *testing.T) {
	m := measured()
	for _, c := range []struct {
		encoding Encoding
		name     string
		summed   bool
		want     string
		sum      func(payload []byte) any
	}{
		{JSONLine, "", false, `{"ts":1700000000123,"seq":12639000,"temp":-0.07,"hum":40.1,"bat":3.70,"rssi":-60}` + "\n", nil},
		{JSONLine, "a", false, `{"dev":"a","ts":1700000000123,"seq":12639000,"temp":-0.07,"hum":40.1,"bat":3.70,"rssi":-60}` + "\n", nil},
		{CSV, "", false, "12639000,1700000000123,-0.07,40.1,3.70,-60\n", nil},
		{CSV, "a", true, "a,12639000,1700000000123,-0.07,40.1,3.70,-60%04X\n", func(p []byte) any { return crc16CCITT(p) }},
		{KeyValue, "", true, "seq=12639000 ts=1700000000123 temp=-0.07 hum=40.1 bat=3.70 rssi=-60%04X\n", func(p []byte) any { return crc16CCITT(p) }},
		{KeyValue, "a", false, "dev=a seq=12639000 ts=1700000000123 temp=-0.07 hum=40.1 bat=3.70 rssi=-60\n", nil},
		{NMEA, "", false, "$IIXDR,C,-0.07,C,temp,H,40.1,P,hum,U,3.70,V,bat,G,12639000,,seq*%02X\r\n", func(p []byte) any { return xor8(p[1:]) }},
		{STXETX, "", false, "\x0212639000,1700000000123,-0.07,40.1,3.70,-60\x03%c", func(p []byte) any { return rune(xor8(p) ^ 3) }},
	} {
		payload := c.encoding.Payload(nil, c.name, m)
		want := c.want
		if c.sum != nil {
			want = fmt.Sprintf(want, c.sum(payload))
		}
		if got := string(c.encoding.Frame([]byte("before "), payload, c.summed)); got != "before "+want {
			t.Errorf("%s: %q, want %q", c.encoding, got, want)
		}
		if c.encoding == NMEA && len(want) > 82 {
			t.Errorf("%d characters in a sentence that may have 82", len(want))
		}
	}
}

func TestBinaryFrames(t *testing.T) {
	const record = "17 DB C0 00 7B 68 E5 CF 8B 01 00 00 F9 FF 91 01 72 01 C4 FF C0 00"
	m := measured()
	m.Seq = 0x00C0DB17
	payload := SLIP.Payload(nil, "", m)
	if !bytes.Equal(payload, bytesOf(t, record)) {
		t.Fatalf("% X", payload)
	}
	crc := fmt.Sprintf("%04X", crc16CCITT(payload))
	escaped := strings.NewReplacer("DB", "DB DD", "C0", "DB DC").Replace
	for _, c := range []struct {
		encoding Encoding
		want     string
	}{
		{SLIP, "C0" + escaped(record+" "+crc[:2]+" "+crc[2:]) + "C0"},
		{COBS, "04 17 DB C0 07 7B 68 E5 CF 8B 01 01 0A F9 FF 91 01 72 01 C4 FF C0 03" + crc + "00"},
		{Length, "AA 55 00 16" + record + fmt.Sprintf("%04X", crc16CCITT(bytesOf(t, "AA 55 00 16"+record)))},
	} {
		if got := c.encoding.Frame(nil, c.encoding.Payload(nil, "", m), false); !bytes.Equal(got, bytesOf(t, c.want)) {
			t.Errorf("%s: % X, want %s", c.encoding, got, c.want)
		}
	}
	fixed := Fixed.Frame(nil, Fixed.Payload(nil, "", m), false)
	want := bytesOf(t, "01 03 10 00 C0 DB 17 65 53 F1 00 FF F9 01 91 01 72 FF C4")
	crcOf := crc16Modbus(want)
	if want = append(want, byte(crcOf), byte(crcOf>>8)); !bytes.Equal(fixed, want) || len(fixed) != 21 {
		t.Errorf("% X, want % X", fixed, want)
	}
}
