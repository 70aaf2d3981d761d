package firmwaresim

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// plugIn opens a serial device and lets it run until the test ends.
func plugIn(t *testing.T, cfg SerialConfig, ledger *Ledger) *SerialDevice {
	t.Helper()
	if cfg.Link == "" {
		cfg.Link = filepath.Join(t.TempDir(), "ttySIM")
	}
	s, err := OpenSerialDevice(cfg, ledger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// openPort opens a port as a gateway does.
func openPort(t *testing.T, path string) *os.File {
	t.Helper()
	port, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	port.SetDeadline(time.Now().Add(patience))
	return port
}

// hear reads until it has heard enough, or until the port is unplugged.
func hear(t *testing.T, port *os.File, enough func([]byte) bool) []byte {
	t.Helper()
	var all []byte
	b := make([]byte, 4096)
	for !enough(all) {
		n, err := port.Read(b)
		all = append(all, b[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("not enough came: %.200q", all)
		}
		if err != nil {
			return all
		}
	}
	return all
}

// seqsIn decodes what a device sent, checks every checksum and returns the
// counters and what was no frame.
func seqsIn(e Encoding, summed bool, b []byte) (seqs []uint64, rest []byte) {
	switch e {
	case SLIP, COBS:
		end := []byte{0xC0}
		if e == COBS {
			end = []byte{0}
		}
		for _, f := range bytes.Split(b, end) {
			if record := unstuff(e, f); len(record) == 24 &&
				binary.BigEndian.Uint16(record[22:]) == crc16CCITT(record[:22]) {
				seqs = append(seqs, uint64(binary.LittleEndian.Uint32(record)))
			} else {
				rest = append(rest, f...)
			}
		}
	case Length:
		for len(b) >= 28 {
			if crc16CCITT(b[:26]) == binary.BigEndian.Uint16(b[26:]) && b[3] == 22 {
				seqs, b = append(seqs, uint64(binary.LittleEndian.Uint32(b[4:]))), b[28:]
			} else {
				rest, b = append(rest, b[0]), b[1:]
			}
		}
		rest = append(rest, b...)
	case Fixed:
		for len(b) >= 21 {
			if crc16Modbus(b[:19]) == binary.LittleEndian.Uint16(b[19:]) {
				seqs, b = append(seqs, uint64(binary.BigEndian.Uint32(b[3:]))), b[21:]
			} else {
				rest, b = append(rest, b[0]), b[1:]
			}
		}
		rest = append(rest, b...)
	case STXETX:
		for len(b) > 0 {
			etx := bytes.IndexByte(b, 3)
			if b[0] != 2 || etx < 0 || etx+1 >= len(b) || xor8(b[1:etx+2]) != 0 {
				rest, b = append(rest, b[0]), b[1:]
				continue
			}
			seqs = append(seqs, seqOfLine(string(b[1:etx])))
			b = b[etx+2:]
		}
	default:
		for line := range bytes.Lines(b) {
			if text, ok := uncrc(e, summed, string(line)); ok {
				seqs = append(seqs, seqOfLine(text))
			} else {
				rest = append(rest, line...)
			}
		}
	}
	return seqs, rest
}

// uncrc takes line end and checksum off a line.
func uncrc(e Encoding, summed bool, line string) (text string, ok bool) {
	text, ok = strings.CutSuffix(line, "\n")
	switch {
	case e == NMEA:
		text, sum, _ := strings.Cut(strings.TrimSuffix(text, "\r"), "*")
		return text, ok && len(text) > 1 && fmt.Sprintf("%02X", xor8([]byte(text[1:]))) == sum
	case summed:
		if len(text) < 4 {
			return "", false
		}
		text, sum := text[:len(text)-4], text[len(text)-4:]
		return text, ok && fmt.Sprintf("%04X", crc16CCITT([]byte(text))) == sum
	}
	return text, ok && seqOfLine(text) > 0
}

// unstuff undoes SLIP and COBS; nil for what is neither.
func unstuff(e Encoding, f []byte) (out []byte) {
	for i := 0; i < len(f); i++ {
		if e == COBS {
			code := int(f[i])
			if code == 0 || i+code > len(f) {
				return nil
			}
			out = append(out, f[i+1:i+code]...)
			if i += code - 1; code < 0xFF && i+1 < len(f) {
				out = append(out, 0)
			}
			continue
		}
		c := f[i]
		if c == 0xDB && i+1 < len(f) {
			i++
			c = f[i] - 0xDC // DC is C0, DD is DB
			c = 0xC0 + c*0x1B
		}
		out = append(out, c)
	}
	return out
}

var seqPattern = regexp.MustCompile(`(?:"seq":|seq=|^)(\d+)(?:[, ]|$)`)

func seqOfLine(line string) uint64 {
	if before, ok := strings.CutSuffix(line, ",,seq"); ok {
		line = before[strings.LastIndexByte(before, ',')+1:]
	}
	m := seqPattern.FindStringSubmatch(line)
	if m == nil {
		return 0
	}
	seq, _ := strconv.ParseUint(m[1], 10, 64)
	return seq
}

func upTo(n int) (seqs []uint64) {
	for i := range n {
		seqs = append(seqs, uint64(i+1))
	}
	return seqs
}

func TestWhatASerialDeviceSendsIsReadBack(t *testing.T) {
	for _, e := range Encodings() {
		for _, summed := range []bool{false, true} {
			if summed && !e.line() {
				continue
			}
			t.Run(fmt.Sprint(e, summed), func(t *testing.T) {
				ledger := NewLedger()
				s := plugIn(t, SerialConfig{Encoding: e, Summed: summed, Baud: maxBaud, Count: 50, Patient: true}, ledger)
				port := openPort(t, s.Port())
				got := hear(t, port, func(b []byte) bool { seqs, _ := seqsIn(e, summed, b); return len(seqs) >= 50 })
				seqs, rest := seqsIn(e, summed, got)
				if !slices.Equal(seqs, upTo(50)) || len(rest) > 0 {
					t.Errorf("%v and %.200X", seqs, rest)
				}
				eventually(t, func() bool { return s.Stats().BytesOut == uint64(len(got)) })
				if st := s.Stats(); st.Samples != 50 || st.Plugs != 1 || st.BytesUnheard+st.BytesOverrun > 0 {
					t.Errorf("%+v", st)
				}
				if sent := ledger.Account("tty-0000").sent; sent.count != 50 {
					t.Errorf("%+v was sent", sent)
				}
			})
		}
	}
}

func TestAPlugThatIsPulledComesBackAsAnotherTerminal(t *testing.T) {
	script, err := ParsePlugScript("250ms unplug, 400ms replug")
	if err != nil {
		t.Fatal(err)
	}
	s := plugIn(t, SerialConfig{Encoding: SLIP, Baud: 19200, Rate: 50, Script: script}, nil)
	first, _ := os.Readlink(s.Port())
	before := hear(t, openPort(t, s.Port()), func([]byte) bool { return false })
	var second string
	eventually(t, func() bool {
		second, err = os.Readlink(s.Port())
		return err == nil && second != first
	})
	port := openPort(t, s.Port())
	after := hear(t, port, func(b []byte) bool { seqs, _ := seqsIn(SLIP, false, b); return len(seqs) >= 3 })
	seqs, half := seqsIn(SLIP, false, before)
	if len(seqs) == 0 || len(half) == 0 {
		t.Errorf("%v and half a frame %.200X before the plug was pulled", seqs, half)
	}
	later, _ := seqsIn(SLIP, false, after)
	if later[0] <= seqs[len(seqs)-1] {
		t.Errorf("%v after %v", later, seqs)
	}
	if st := s.Stats(); st.Plugs != 2 || st.Halved != 1 {
		t.Errorf("%+v", st)
	}
}

func TestADeviceAnswersPollsOnly(t *testing.T) {
	s := plugIn(t, SerialConfig{Encoding: KeyValue, Baud: maxBaud, Poll: "READ\r\n"}, nil)
	port := openPort(t, s.Port())
	for i := range 3 {
		for _, part := range []string{"noise", "REA", "D\r", "\n"} {
			if _, err := port.WriteString(part); err != nil {
				t.Fatal(err)
			}
		}
		got := hear(t, port, func(b []byte) bool { return bytes.HasSuffix(b, []byte("\n")) })
		if seqs, rest := seqsIn(KeyValue, false, got); len(seqs) != 1 || seqs[0] != uint64(i+1) || len(rest) > 0 {
			t.Errorf("poll %d: %q", i, got)
		}
	}
	if st := s.Stats(); st.Samples != 3 || st.Polls != 3 {
		t.Errorf("%+v", st)
	}
}

// A device that is not confirmed sends the same again; the ledger has it as
// acknowledged only then.
func TestADeviceSendsAgainWhatIsNotConfirmed(t *testing.T) {
	ledger := NewLedger()
	s := plugIn(t, SerialConfig{Encoding: CSV, Baud: maxBaud, Confirm: "+{frame}\n", Timeout: 100 * time.Millisecond, Count: 3}, ledger)
	port := openPort(t, s.Port())
	line := func() string {
		return strings.TrimSuffix(string(hear(t, port, func(b []byte) bool { return bytes.HasSuffix(b, []byte("\n")) })), "\n")
	}
	first := line()
	if again := line(); again != first && !strings.HasPrefix(again, first) {
		t.Errorf("%q after %q", again, first)
	}
	if acked, again := ledger.Count(); acked != 0 || again == 0 {
		t.Errorf("%d acknowledged, %d again", acked, again)
	}
	fmt.Fprintf(port, "+0,0\n+%s\n", first)
	for seqOfLine(first) < 3 {
		next := first
		for next == first {
			lines := strings.Split(line(), "\n")
			next = lines[len(lines)-1]
		}
		fmt.Fprintf(port, "+%s\n", next)
		first = next
	}
	eventually(t, func() bool { return s.Stats().Acked == 3 })
	if acked, _ := ledger.Count(); acked != 3 {
		t.Errorf("%d acknowledged", acked)
	}
}

// A gateway that believes lines without a checksum brings readings that nobody
// sent, and the audit finds them; one that checks brings none.
func TestAnAuditFindsWhatNoiseInvented(t *testing.T) {
	for _, summed := range []bool{false, true} {
		ledger := NewLedger()
		const n = 2500
		s := plugIn(t, SerialConfig{Encoding: CSV, Summed: summed, Baud: maxBaud, Count: n, Patient: true, Seed: 3,
			Linger: 300 * time.Millisecond, Faults: Faults{Corrupt: .9, Noise: .3}}, ledger)
		port := openPort(t, s.Port())
		got := hear(t, port, func([]byte) bool { return false }) // until it leaves
		var export strings.Builder
		seqs, _ := seqsIn(CSV, summed, got)
		for i, seq := range seqs {
			fmt.Fprintf(&export, `{"gateway":"g","epoch":"1","lane":"normal","seq":%d,"device":"tty-0000","metric":"seq","value":%d}`+"\n", i, seq)
		}
		v, err := Audit(ledger, strings.NewReader(export.String()))
		if err != nil {
			t.Fatal(err)
		}
		if summed == (v.Invented > 0) || v.Unclaimed < n/20 {
			t.Errorf("summed %v: %v, %+v", summed, v, v)
		}
	}
}

func TestNobodyHasToListen(t *testing.T) {
	s := plugIn(t, SerialConfig{Baud: maxBaud}, nil)
	eventually(t, func() bool { return s.Stats().BytesUnheard > 10_000 })
	if st := s.Stats(); st.BytesOut != 0 || st.BytesOverrun != 0 {
		t.Errorf("%+v", st)
	}
	port := openPort(t, s.Port())
	got := hear(t, port, func(b []byte) bool { return len(b) > 1000 })
	if seqs, _ := seqsIn(JSONLine, false, got); len(seqs) < 5 || seqs[0] < 100 {
		t.Errorf("%v: a reader that comes late gets what is old", seqs)
	}
}

func TestAPortThatNobodyReadsOverflows(t *testing.T) {
	s := plugIn(t, SerialConfig{Baud: maxBaud, Patient: true}, nil)
	openPort(t, s.Port())
	eventually(t, func() bool { return s.Stats().BytesOverrun > 0 })
}

func TestAPortTakesNobodysPlace(t *testing.T) {
	dir := t.TempDir()
	file, foreign, stale := filepath.Join(dir, "file"), filepath.Join(dir, "foreign"), filepath.Join(dir, "stale")
	for _, err := range []error{os.WriteFile(file, nil, 0o600), os.Symlink("/dev/null", foreign), os.Symlink("/dev/pts/99999", stale)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{file, foreign, filepath.Join(dir, "no", "folder")} {
		if s, err := OpenSerialDevice(SerialConfig{Link: link}, nil); err == nil {
			s.close()
			t.Errorf("%s was taken", link)
		}
	}
	s, err := OpenSerialDevice(SerialConfig{Link: stale}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.close()
	if _, err := os.Lstat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link is left behind: %v", err)
	}
	if _, err := os.Lstat(file); err != nil {
		t.Error(err)
	}
}

func TestSerialDevicesThatMakeNoSense(t *testing.T) {
	for want, cfg := range map[string]SerialConfig{
		"needs a name":        {},
		"is not one of":       {Link: "x", Encoding: "xml"},
		"is no speed":         {Link: "x", Baud: 1_000_000},
		"has a checksum":      {Link: "x", Encoding: SLIP, Summed: true},
		"no place for a name": {Link: "x", Encoding: NMEA, Named: true},
		"choose one of":       {Link: "x", Poll: "?", Confirm: "!"},
		"no checksum shows":   {Link: "x", Confirm: "!", Faults: Faults{Noise: .1}},
		"no second frame":     {Link: "x", Poll: "?", Faults: Faults{Merge: .1}},
		"a rate of -1":        {Link: "x", Rate: -1},
	} {
		if _, err := OpenSerialDevice(cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for text, want := range map[string]string{
		"10s": "not a time and an action", "10s explode": "unplug and replug", "2s unplug, 1s replug": "comes after",
		"1s unplug now": "unknown action",
	} {
		if _, err := ParsePlugScript(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
