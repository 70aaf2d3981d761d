package modbusin

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGoldenExchanges has the examples of the specification, and refusals. Each
// case is what is asked for, the PDUs of both directions, and the data or error.
func TestGoldenExchanges(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/asked.txt")
	if err != nil || len(cases) < 10 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, file := range cases {
		dir := filepath.Dir(file)
		text := func(name string) string {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(string(b))
		}
		var r request
		var table string
		if _, err := fmt.Sscan(text("asked.txt"), &table, &r.address, &r.count); err != nil {
			t.Fatal(dir, err)
		}
		r.table, _ = ParseTable(table)
		if got, want := appendRequest(nil, r), unhex(t, text("request.hex")); !bytes.Equal(got, want) {
			t.Errorf("%s: request % x, want % x", dir, got, want)
		}
		got := ""
		if data, err := parseAnswer(unhex(t, text("answer.hex")), r); err != nil {
			got = err.Error()
		} else {
			got = fmt.Sprintf("% x", data)
		}
		if want := text("want.txt"); got != want {
			t.Errorf("%s: got %s, want %s", dir, got, want)
		}
	}
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestChecksumIsThatOfTheSpecification has the example of "MODBUS over serial
// line" V1.02, appendix B, and compares the table with the diagram there.
func TestChecksumIsThatOfTheSpecification(t *testing.T) {
	if got := appendRTU(nil, 2, []byte{7}); !bytes.Equal(got, []byte{0x02, 0x07, 0x41, 0x12}) {
		t.Errorf("% x", got)
	}
	for n := range 300 {
		b := bytes.Repeat([]byte{byte(n), byte(n >> 3), 0x5a}, n%7)
		if crc16(b) != slowCRC(b) {
			t.Errorf("% x: %04x, want %04x", b, crc16(b), slowCRC(b))
		}
	}
}

func TestMBAPFramesComeBackWhole(t *testing.T) {
	stream := appendMBAP(appendMBAP(nil, 0x1501, 0xff, []byte{3, 0, 4, 0, 1}), 7, 1, []byte{0x83, 2})
	if want := unhex(t, "15 01 00 00 00 06 ff 03 00 04 00 01"); !bytes.Equal(stream[:12], want) {
		t.Errorf("% x", stream[:12])
	}
	for n := range len(stream) {
		f, size, err := cutMBAP(stream[:n])
		if whole := n >= 12; err != nil || whole != (size == 12) || !whole && size != 0 {
			t.Errorf("%d bytes: %+v, %d, %v", n, f, size, err)
		}
	}
	_, size, _ := cutMBAP(stream)
	f, _, err := cutMBAP(stream[size:])
	if err != nil || f.id != 7 || f.unit != 1 || !bytes.Equal(f.pdu, []byte{0x83, 2}) {
		t.Errorf("%+v, %v", f, err)
	}
	for _, broken := range []string{"0001 0001", "0001 0100 0006", "0001 0000 0001", "0001 0000 00ff", "0001 0000 ffff"} {
		if _, _, err := cutMBAP(unhex(t, broken)); err != errBrokenStream {
			t.Errorf("%s: %v", broken, err)
		}
	}
}

func TestNumbersOfManualsAreUnambiguous(t *testing.T) {
	for text, want := range map[string]string{
		"40001": "holding 0", "49999": "holding 9998", "400001": "holding 0", "465536": "holding 65535",
		"30001": "input 0", "300010": "input 9", "00001": "coil 0", "000001": "coil 0", "10005": "discrete 4",
	} {
		table, address, err := ParseNumber(text)
		if got := fmt.Sprint(table, " ", address); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "1", "4001", "40000", "400000", "465537", "20001", "50001", "4000001", "+4001", "4x001", "-4001"} {
		if table, address, err := ParseNumber(text); err == nil || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%q: %v %d, %v", text, table, address, err)
		}
	}
}

func TestTablesHaveNames(t *testing.T) {
	for table := range Table(tables) {
		if got, ok := ParseTable(table.String()); !ok || got != table {
			t.Errorf("%v: %v %v", table, got, ok)
		}
	}
	if _, ok := ParseTable("register"); ok {
		t.Error("there is no table register")
	}
}

// TestGapsAreThoseOfTheSpecification: 3.5 characters, and 1.75 ms beyond 19200
// baud.
func TestGapsAreThoseOfTheSpecification(t *testing.T) {
	for baud, want := range map[int]string{1200: "32.083331ms", 9600: "4.010415ms", 19200: "2.005206ms", 38400: "1.75ms", 115200: "1.75ms"} {
		if got := gapTime(baud, 11).String(); got != want {
			t.Errorf("%d baud: %s, want %s", baud, got, want)
		}
	}
}

// TestAnAnswerThatContradictsItselfIsNone: its count of bytes is one thing, what
// follows is another.
func TestAnAnswerThatContradictsItselfIsNone(t *testing.T) {
	r := request{Holding, 7, 2}
	for _, text := range []string{"03 02 0001 0002", "03 04 0001", "03 04 0001 0002 0003", "03 06 0001 0002 0003", "03 04", "83", "83 02 00", "84 02", "04 04 0001 0002", ""} {
		if data, err := parseAnswer(unhex(t, text), r); err != Malformed {
			t.Errorf("%s: % x, %v", text, data, err)
		}
	}
	if data, err := parseAnswer(unhex(t, "03 04 0001 0002"), r); err != nil || len(data) != 4 {
		t.Errorf("% x, %v", data, err)
	}
}
