package frame

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the want.txt files anew")

// Each case is a framing, what comes in and what comes of it. In in.txt, a line
// is bytes in hexadecimal digits, or a string as in Go; ~ is a silence.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/in.txt")
	if err != nil || len(cases) < 20 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, in := range cases {
		dir := filepath.Dir(in)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			cfg, input := readConfig(t, dir), readInput(t, in)
			got := describe(feed(t, cfg, input, func(n int) int { return n }))
			for _, step := range []int{1, 2, 3, 7} {
				if other := describe(feed(t, cfg, input, func(int) int { return step })); other != got {
					t.Errorf("in steps of %d:\n%s\nat once:\n%s", step, other, got)
				}
			}
			golden := filepath.Join(dir, "want.txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// silence stands for a call of Idle between parts of an input.
type input [][]byte

// feed writes the parts of the input, in pieces, with a silence after each but
// the last.
func feed(t testing.TB, cfg Config, in input, piece func(n int) int) (frames [][]byte, stats Stats, rest int) {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range in {
		for len(part) > 0 {
			n := min(max(1, piece(len(part))), len(part))
			s.Write(part[:n])
			part = part[n:]
			frames = take(s, frames)
		}
		if i < len(in)-1 {
			s.Idle()
			frames = take(s, frames)
		}
	}
	return frames, s.Stats(), s.Buffered()
}

func take(s *Scanner, frames [][]byte) [][]byte {
	for {
		f, ok := s.Next()
		if !ok {
			return frames
		}
		frames = append(frames, bytes.Clone(f))
	}
}

func describe(frames [][]byte, stats Stats, rest int) string {
	var b strings.Builder
	for _, f := range frames {
		fmt.Fprintf(&b, "%q\n", f)
	}
	fmt.Fprintf(&b, "%+v, %d bytes wait\n", stats, rest)
	return b.String()
}

func readInput(t testing.TB, file string) input {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := input{nil}
	add := func(b []byte, err error) {
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		in[len(in)-1] = append(in[len(in)-1], b...)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, `"`):
			text, err := strconv.Unquote(line)
			add([]byte(text), err)
		default:
			for i, part := range strings.Split(strings.ReplaceAll(line, " ", ""), "~") {
				if i > 0 {
					in = append(in, nil)
				}
				add(hex.DecodeString(part))
			}
		}
	}
	return in
}

// readConfig reads a framing. Bytes are written as Latin-1.
func readConfig(t testing.TB, dir string) Config {
	t.Helper()
	var c struct {
		Kind, Checksum, Form, Delimiter, Separator, Sync, Trailer string

		MaxFrame int `json:"max_frame"`
		Size     int
		SumFrom  int  `json:"sum_from"`
		Keep     bool `json:"keep_header"`
		Length   LengthField
		Envelope struct {
			Escapes     string
			SumAfterEnd bool `json:"sum_after_end"`
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&c); err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	kind, ok := ParseKind(c.Kind)
	if !ok {
		t.Fatalf("%s: kind %q", dir, c.Kind)
	}
	sum, ok := ParseChecksum(c.Checksum)
	if !ok && c.Checksum != "" {
		t.Fatalf("%s: checksum %q", dir, c.Checksum)
	}
	return Config{
		Kind: kind, Checksum: sum, MaxFrame: c.MaxFrame, Size: c.Size, SumFrom: c.SumFrom, KeepHeader: c.Keep,
		Form:      map[string]Form{"big": Big, "little": Little, "hex": Hex}[c.Form],
		Delimiter: latin1(c.Delimiter), Separator: latin1(c.Separator), Sync: latin1(c.Sync), Trailer: latin1(c.Trailer),
		Length: c.Length,
		Envelope: Envelope{
			Escapes:     map[string]Escapes{"each": EscapeEach, "double": EscapeDouble}[c.Envelope.Escapes],
			SumAfterEnd: c.Envelope.SumAfterEnd,
		},
	}
}

func latin1(text string) string {
	var b []byte
	for _, r := range text {
		b = append(b, byte(r))
	}
	return string(b)
}
