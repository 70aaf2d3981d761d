package encode

import (
	"encoding/hex"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// exampleBlocks are the four readings that docs/reference/encodings.md shows in
// every encoding.
func exampleBlocks(t testing.TB) []wire.Block {
	const at = 1_700_000_000_123_000_000
	var blocks []wire.Block
	for i, r := range []reading.Reading{
		{Device: "boiler", Metric: "temp", Unit: "Cel", Time: at, Value: reading.Float(21.37)},
		{Device: "boiler", Metric: "on", Time: at, Value: reading.Bool(true)},
		{Device: "boiler", Metric: "mode", Time: at + 1_500_000_000, Value: reading.String("eco"), Flags: reading.Bad},
		{Device: "site/modem", Metric: "raw", Time: at, Value: reading.Bytes("\x00\xff")},
	} {
		blocks = append(blocks, block(t, wire.Header{Epoch: 1234, First: uint64(i + 1)}, []reading.Reading{r}))
	}
	return blocks
}

// TestDocumentShowsWhatIsEncoded compares the page of encodings with the
// encoders: every fence that names an encoding, and a cut behind it, shows the
// bodies of the same four readings, those of parts in lines of their own.
// Binary bodies are shown in hexadecimal, with what they mean behind a "#".
func TestDocumentShowsWhatIsEncoded(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/encodings.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for i, fence := range strings.Split(string(text), "\n```") {
		mark, body, _ := strings.Cut(fence, "\n")
		words := strings.Fields(mark)
		if i%2 == 0 || len(words) != 3 {
			continue
		}
		per, ok := ParsePer(words[2])
		if !ok {
			t.Errorf("a fence is marked %q: write language, encoding and cut", mark)
		}
		want := shownAs(t, words[1], per)
		if got := plainText(words[0], body); got != want {
			t.Errorf("%s per %s:\nthe page shows\n%s\nthe encoder says\n%s", words[1], per, got, want)
		}
		shown[words[1]] = true
	}
	for _, name := range Encodings() {
		if !shown[name] && name != packedName {
			t.Errorf("the page shows no example of %s", name)
		}
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("the page does not name %s", name)
		}
	}
}

func shownAs(t *testing.T, name string, per Per) string {
	t.Helper()
	body, parts := encoded(t, Config{Gateway: "north-7", Encoding: name, Per: per}, exampleBlocks(t), math.MaxInt)
	show := func(b []byte) string {
		if name == senmlCBORName || name == rawName || name == valueName {
			return hex.EncodeToString(b)
		}
		return strings.TrimSuffix(string(b), "\n")
	}
	if parts == nil {
		return show(body)
	}
	var shown []string
	for _, p := range parts {
		shown = append(shown, show(p.Body))
	}
	if name == rawName || name == valueName {
		return strings.Join(shown, "")
	}
	return strings.Join(shown, "\n")
}

// plainText is what a fence shows.
func plainText(language, body string) string {
	body = strings.TrimSuffix(body, "\n")
	if language != "hex" {
		return body
	}
	var digits strings.Builder
	for line := range strings.Lines(body) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	return digits.String()
}
