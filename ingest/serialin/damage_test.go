package serialin

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// FuzzDamage feeds lines of text with damaged bytes among them. No frame may come
// out that a damaged byte is part of, or that one has begun or ended; and every
// frame must that no damage is near.
func FuzzDamage(f *testing.F) {
	f.Add([]byte("1\n22\n3\n"), uint64(0b100), 3)
	f.Add([]byte("1\n2\n3\n\n4"), uint64(0b10010), 1)
	f.Add([]byte("a\r\nb\r\nc"), uint64(0b110), 2)
	f.Fuzz(func(t *testing.T, data []byte, bad uint64, piece int) {
		data = data[:min(len(data), 64)]
		scanner, err := frame.New(frame.Config{})
		if err != nil {
			t.Fatal(err)
		}
		s := &Source{config: Config{Target: target("temp")}, taps: newTaps()}
		b := newBacklog(1<<20, &s.counts.backlog)
		in := ingest.NewIntake(ingesttest.NewCustody(), nil, time.Now)
		l := &line{s: s, intake: in, backlog: b, scanner: scanner, polls: newPolls(nil, time.Now()), trust: trustOf(frame.Config{}), lost: func() (uint64, int) { return 0, 0 }}
		piece = 1 + abs(piece)%8
		for at := 0; at < len(data); {
			end := at + 1
			for end < min(at+piece, len(data)) && bad>>(end-1)&1 == 0 {
				end++
			}
			if err := l.feed(context.Background(), data[at:end], bad>>(end-1)&1 == 1); err != nil {
				t.Fatal(err)
			}
			at = end
		}
		b.close()
		got, _ := b.take(context.Background(), batch{})
		var frames []string
		start := 0
		for _, a := range got.frames {
			frames = append(frames, string(got.data[start:a.end]))
			start = a.end
		}
		may, must := undamaged(data, bad)
		if !isSubsequence(frames, may) || !isSubsequence(must, frames) {
			t.Errorf("%q, damaged at %b: got %q, want all of %q and none but %q", data, bad, frames, must, may)
		}
	})
}

// undamaged returns the lines that may be taken, because they and the ends around
// them are whole, and those that must be, because the lines beside them are, too.
func undamaged(data []byte, bad uint64) (may, must []string) {
	isEnd := func(i int) bool { return data[i] == '\r' || data[i] == '\n' }
	whole := func(from, to int) bool {
		for i := max(from, 0); i < min(to, len(data)); i++ {
			if bad>>i&1 == 1 {
				return false
			}
		}
		return true
	}
	for start := 0; start < len(data); start++ {
		if isEnd(start) || start > 0 && !isEnd(start-1) {
			continue
		}
		end := start
		for end < len(data) && !isEnd(end) {
			end++
		}
		if end == len(data) {
			break
		}
		if whole(start-1, end+1) {
			may = append(may, string(data[start:end]))
		}
		// Somewhat more than needed must be whole for it to be certain: the line
		// before, and all ends up to it.
		before := start - 1
		for before >= 0 && isEnd(before) {
			before--
		}
		for before >= 0 && !isEnd(before) {
			before--
		}
		if whole(before, end+1) {
			must = append(must, string(data[start:end]))
		}
	}
	return may, must
}

func isSubsequence(part, all []string) bool {
	for _, p := range part {
		for len(all) > 0 && all[0] != p {
			all = all[1:]
		}
		if len(all) == 0 {
			return false
		}
		all = all[1:]
	}
	return true
}

func abs(n int) int { return max(n, -(n + 1)) }

// Whoever could not look for longer than the gap does not know whether there was
// one: 12 and 34 must not become 1234.
func TestAGapThatNobodyCouldSeeMakesNoFrame(t *testing.T) {
	for want, c := range map[string]frame.Config{
		"56":      {Kind: frame.Gap},
		"1234 56": {}, // lines have ends
	} {
		f := newFed(t, c)
		end := ""
		if c.Kind == frame.Line {
			end = "\n"
		}
		quiet := func() {
			f.lastByte = time.Now().Add(-time.Minute)
			if err := f.silent(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		f.speak(t, "12")
		f.lastByte = time.Now().Add(-time.Minute)
		f.speak(t, "34"+end)
		quiet()
		f.speak(t, "56"+end)
		quiet()
		if got := strings.Join(f.frames(t), " "); got != want {
			t.Errorf("%v: got %q, want %q", c.Kind, got, want)
		}
	}
}

// Where nothing but counting finds the next frame, a byte that is lost shifts all
// that follow, and so does a length that arrived wrong. Only a silence ends that.
func TestWhatIsOnlyCountedIsNotTrustedUntilTheLineWasSilent(t *testing.T) {
	fixed := frame.Config{Kind: frame.Fixed, Size: 2}
	length := frame.Config{Kind: frame.Length, Length: frame.LengthField{Bytes: 1}}
	for name, c := range map[string]struct {
		framing  frame.Config
		in, then string
		want     string
	}{
		"a byte was lost":       {fixed, "bb0cddee", "ffgg", "aa ff gg"},
		"a length was damaged":  {length, "^\x02bb\x01c\x01d", "\x01f", "aa f"},
		"with sync, the next":   {frame.Config{Kind: frame.Length, Sync: "$", Length: frame.LengthField{Bytes: 1, Offset: 1}}, "$^\x01b$\x01x$\x01d", "$\x01f", "aa d f"},
		"octets, a wrong count": {frame.Config{Kind: frame.Octets}, "^1 b2 cc", "1 f", "aa f"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFed(t, c.framing)
			lost := uint64(0)
			f.lost = func() (uint64, int) { return lost, 0 }
			good, err := c.framing.Append(nil, []byte("aa"))
			if err != nil {
				t.Fatal(err)
			}
			f.speak(t, string(good))
			if c.framing.Kind == frame.Fixed {
				lost = 1
			}
			f.speak(t, c.in)
			f.lastByte = time.Now().Add(-time.Hour)
			if err := f.silent(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.speak(t, c.then)
			if got := strings.Join(f.frames(t), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
