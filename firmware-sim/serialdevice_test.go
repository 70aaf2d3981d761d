package firmwaresim

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long anything may take that should happen at all.
const patience = 2 * time.Minute

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
	for late := 2 * time.Second; ; late *= 4 {
		script, err := ParsePlugScript(fmt.Sprintf("%v unplug, %v replug", late, late+200*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		s := plugIn(t, SerialConfig{Encoding: SLIP, Baud: 19200, Rate: 50, Script: script}, nil)
		first, _ := os.Readlink(s.Port())
		before := hear(t, openPort(t, s.Port()), func([]byte) bool { return false })
		seqs, half := seqsIn(SLIP, false, before)
		if len(seqs) == 0 && late < patience { // a machine that is busy has not begun so soon
			continue
		}
		if len(seqs) == 0 || len(half) == 0 {
			t.Fatalf("%v and half a frame %.200X before the plug was pulled", seqs, half)
		}
		var second string
		eventually(t, func() bool {
			second, err = os.Readlink(s.Port())
			return err == nil && second != first
		})
		after := hear(t, openPort(t, s.Port()), func(b []byte) bool { seqs, _ := seqsIn(SLIP, false, b); return len(seqs) >= 3 })
		if later, _ := seqsIn(SLIP, false, after); later[0] <= seqs[len(seqs)-1] {
			t.Errorf("%v after %v", later, seqs)
		}
		if st := s.Stats(); st.Plugs != 2 || st.Halved != 1 {
			t.Errorf("%+v", st)
		}
		return
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
	in := bufio.NewReader(port)
	line := func() string {
		text, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(text, "\n")
	}
	first := line()
	if again := line(); again != first {
		t.Errorf("%q after %q", again, first)
	}
	if acked, again := ledger.Count(); acked != 0 || again == 0 {
		t.Errorf("%d acknowledged, %d again", acked, again)
	}
	fmt.Fprintf(port, "+0,0\n+%s\n", first)
	for seqOfLine(first) < 3 {
		next := first
		for next == first {
			next = line()
		}
		fmt.Fprintf(port, "+%s\n", next)
		first = next
	}
	eventually(t, func() bool { return s.Stats().Acked == 3 })
	if acked, _ := ledger.Count(); acked != 3 {
		t.Errorf("%d acknowledged", acked)
	}
}

// What was sent when the plug was pulled, and not confirmed, is sent again over
// the next terminal.
func TestNothingUnconfirmedIsLostWithThePlug(t *testing.T) {
	script, err := ParsePlugScript("60ms unplug, 90ms replug, 150ms unplug, 180ms replug")
	if err != nil {
		t.Fatal(err)
	}
	ledger := NewLedger()
	s := plugIn(t, SerialConfig{Encoding: KeyValue, Baud: 38400, Confirm: "+{frame}\n", Timeout: 100 * time.Millisecond, Count: 60, Script: script}, ledger)
	taken := make(map[uint64]bool)
	ctx := deadline(t)
	for s.Stats().Acked < 60 && ctx.Err() == nil {
		port, err := os.OpenFile(s.Port(), os.O_RDWR, 0)
		if err != nil {
			sleepUntil(ctx, time.Now().Add(5*time.Millisecond))
			continue
		}
		port.SetDeadline(time.Now().Add(patience))
		for lines := bufio.NewScanner(port); s.Stats().Acked < 60 && lines.Scan(); {
			if seq := seqOfLine(lines.Text()); seq > 0 && strings.Contains(lines.Text(), "rssi=-") {
				taken[seq] = true
				fmt.Fprintf(port, "+%s\n", lines.Text())
			}
		}
		port.Close()
	}
	for sample := range ledger.All() {
		if !taken[sample.Seq] {
			t.Errorf("%d is in the ledger and was not taken", sample.Seq)
		}
	}
	if acked, _ := ledger.Count(); acked != 60 || s.Stats().Plugs != 3 {
		t.Errorf("%d acknowledged, %+v", acked, s.Stats())
	}
}

func FuzzPlugScript(f *testing.F) {
	f.Add("10s unplug, 12s replug # comment\n1m unplug")
	f.Fuzz(func(t *testing.T, text string) {
		steps, err := ParsePlugScript(text)
		if err == nil && !slices.IsSortedFunc(steps, func(a, b PlugStep) int { return cmp.Compare(a.At, b.At) }) {
			t.Fatalf("%q is %v", text, steps)
		}
	})
}

// A gateway that believes lines without a checksum brings readings that nobody
// sent, and the audit finds them; one that checks brings none.
func TestAnAuditFindsWhatNoiseInvented(t *testing.T) {
	for _, summed := range []bool{false, true} {
		ledger := NewLedger()
		n := uint64(2500)
		if summed {
			n = 300 // it brings none, however many there are
		}
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
