package frame

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

func TestSilenceEndsHalfAFrame(t *testing.T) {
	for name, c := range framings() {
		if c.Kind == Gap || c.Kind == Fixed && c.Checksum == None {
			continue // any bytes are a frame of theirs
		}
		c.DropHalf = true
		payload := fit(c, []byte("123456789"))
		wire, err := c.Append(nil, payload)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		half := wire[:len(wire)-2] // CR ends a line, too
		got, stats, rest := feed(t, c, input{half, wire}, func(n int) int { return n })
		if len(got) != 1 || !bytes.Equal(got[0], payload) || stats.Partial != 1 || stats.Frames != 1 || rest != 0 {
			t.Errorf("%s: %q, %+v, %d bytes wait", name, got, stats, rest)
		}
		if lost := uint64(len(half)); stats.Garbage > lost || stats.Garbage < lost-2 { // without what begins frames
			t.Errorf("%s: %d bytes of garbage of %d", name, stats.Garbage, lost)
		}
	}
}

func TestSilenceMeansNothingUnlessItIsSaidTo(t *testing.T) {
	for name, c := range framings() {
		if c.Kind == Gap {
			continue
		}
		payload := fit(c, []byte("123456789"))
		wire, err := c.Append(nil, payload)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		half := len(wire) - 1
		got, stats, _ := feed(t, c, input{wire[:half], wire[half:]}, func(n int) int { return n })
		if len(got) != 1 || stats != (Stats{Frames: 1}) {
			t.Errorf("%s: %q, %+v", name, got, stats)
		}
	}
}

// Whoever does not call Next in between gets the same frames later.
func TestWhatIsNotTakenYetIsKept(t *testing.T) {
	for name, c := range framings() {
		c.DropHalf = true
		payload := fit(c, []byte("123456789"))
		wire, err := c.Append(nil, payload)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		const n = 100
		for range n {
			s.Write(wire)
			s.Idle()
			s.Idle()
		}
		if got := take(s, nil); len(got) != n || s.Stats() != (Stats{Frames: n}) {
			t.Errorf("%s: %d frames, %+v", name, len(got), s.Stats())
		}
	}
}

func TestResetBeginsAnew(t *testing.T) {
	for name, c := range framings() {
		payload := fit(c, []byte("123456789"))
		wire, err := c.Append(nil, payload)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			s.Write(wire[:len(wire)-2])
			take(s, nil)
			s.Reset()
			s.Write(wire)
			s.Idle()
			if got := take(s, nil); len(got) != 1 || !bytes.Equal(got[0], payload) {
				t.Errorf("%s: %q", name, got)
			}
		}
		s.Reset()
		if got := s.Stats(); got.Frames != 3 || got.Partial != 3 || got.Damage() != 3 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A frame that never ends takes no memory beyond the bound, and what follows it
// is found.
func TestEndlessFramesAreBounded(t *testing.T) {
	const most = 1000
	for name, c := range framings() {
		if c.Kind == Fixed || c.Kind == Length || c.Kind == Octets {
			continue // they say how long they are
		}
		c.MaxFrame, c.DropHalf = most, true
		good, err := c.Append(nil, fit(c, []byte("an ordinary frame")))
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		s.Write(good[:len(good)/2])
		for range 1000 {
			s.Write(bytes.Repeat([]byte{'a'}, 100))
			take(s, nil)
		}
		if size := cap(s.buf); size > 2*(2*most+200)+200 {
			t.Errorf("%s: a buffer of %d bytes", name, size)
		}
		s.Write(good[len(good)-1:])
		s.Idle()
		take(s, nil)
		s.Write(good)
		s.Idle()
		if got := take(s, nil); len(got) != 1 || s.Stats().TooLong != 1 {
			t.Errorf("%s: %q, %+v", name, got, s.Stats())
		}
	}
}

// A burst does not cost its memory for ever.
func TestBuffersShrinkAgain(t *testing.T) {
	s, err := New(Config{MaxFrame: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s.Write(bytes.Repeat([]byte("a"), 1<<20))
	s.Write([]byte("\n"))
	take(s, nil)
	if cap(s.buf) < 1<<20 {
		t.Fatalf("a buffer of %d bytes holds a mebibyte", cap(s.buf))
	}
	for range 2 * patience {
		s.Write([]byte("temp=21.5\nhalf"))
		take(s, nil)
	}
	if cap(s.buf) > spare {
		t.Errorf("a buffer of %d bytes for short lines", cap(s.buf))
	}
	s.Write([]byte("\n"))
	if got := take(s, nil); len(got) != 1 || !strings.HasPrefix(string(got[0]), "half") {
		t.Errorf("%q", got)
	}
}

// hostile is noise in which every byte looks like the beginning of a long frame.
func hostile(n int) (Config, []byte) {
	c := Config{Kind: Length, Checksum: CRC16XModem, MaxFrame: 60_000}
	b := bytes.Repeat(binary.BigEndian.AppendUint16(nil, 0xEAEA), n/2) // 60138 is too long, 59946 is not
	for i := range b {
		if i%97 != 0 {
			b[i] = 0xE9
		}
	}
	return c, b
}

// Summing up every one of them would take a minute: 60 kB for each byte.
func TestNoiseCostsNoMoreThanItsLength(t *testing.T) {
	c, noise := hostile(1 << 20)
	c.DropHalf = true
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for len(noise) > 0 {
		n := min(len(noise), 1500)
		s.Write(noise[:n])
		take(s, nil)
		noise = noise[n:]
	}
	f := s.framing.(*counted)
	if most := 4 * (c.MaxFrame + 1500); cap(f.running.after) > most {
		t.Errorf("%d registers are kept, at most %d are needed", cap(f.running.after), most)
	}
	want, err := c.Append(nil, []byte("after all that"))
	if err != nil {
		t.Fatal(err)
	}
	s.Write(want)
	s.Idle()
	if got := take(s, nil); len(got) != 1 || string(got[0]) != "after all that" {
		t.Errorf("%q, %+v", got, s.Stats())
	}
}

func TestScanningAllocatesNothing(t *testing.T) {
	for name, c := range framings() {
		c.DropHalf = true
		wire, err := c.Append(nil, fit(c, []byte("123456789")))
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		scan := func() {
			s.Write(wire)
			s.Write(wire[:len(wire)/2])
			s.Idle()
			for {
				if _, ok := s.Next(); !ok {
					return
				}
			}
		}
		scan()
		if n := testing.AllocsPerRun(1000, scan); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// A damaged length field may make a frame wait for bytes that belong to others:
// silence ends that.
func TestSilenceFindsFramesInWhatLookedLikeALongOne(t *testing.T) {
	c := Config{Kind: Length, Checksum: CRC32, DropHalf: true}
	in := []byte{0x20, 0x00} // 8192 bytes are to come
	for _, p := range []string{"one", "two", "three"} {
		in, _ = c.Append(in, []byte(p))
	}
	got, stats, _ := feed(t, c, input{in, nil}, func(n int) int { return n })
	if len(got) != 3 || stats.Partial != 1 || stats.Garbage != 2 {
		t.Errorf("%q, %+v", got, stats)
	}
}

// Where nothing marks a frame, the byte after one that was none is as likely the
// middle of a frame as its beginning.
func TestWhatDoesNotResyncSaysNothingUntilItBeginsAnew(t *testing.T) {
	for name, c := range map[string]Config{
		"too long": {Kind: Length, MaxFrame: 4, DropHalf: true, Length: LengthField{Bytes: 1}},
		"negative": {Kind: Length, DropHalf: true, Length: LengthField{Bytes: 1, Adjust: -9}},
	} {
		s, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		s.Write([]byte{5, 1, 0xAA, 1, 0xBB, 0x0A})
		if f, ok := s.Next(); ok {
			t.Errorf("%s: %x was made of what is no frame", name, f)
		}
		s.Idle()
		good, err := c.Append(nil, []byte{7})
		if err != nil {
			t.Fatal(err)
		}
		s.Write(good)
		if f, ok := s.Next(); !ok || string(f) != "\x07" || s.Stats().Damage() != 1 || s.Stats().Garbage != 6 {
			t.Errorf("%s: after a silence: %x, %+v", name, f, s.Stats())
		}
	}
}

// The checksum behind the end of a frame may be what was lost: then what stands in
// its place is the next frame.
func TestALostChecksumDoesNotCostTheNextFrame(t *testing.T) {
	c := Config{Kind: STXETX, Checksum: XOR8, Envelope: Envelope{SumAfterEnd: true}}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	good, err := c.Append(nil, []byte("b"))
	if err != nil {
		t.Fatal(err)
	}
	s.Write(append([]byte("\x02a\x03"), good...))
	if f, ok := s.Next(); string(f) != "b" || !ok || s.Stats().BadChecksum != 1 {
		t.Errorf("%q, %+v", f, s.Stats())
	}
}

func TestAChecksumThatBeginsBehindAFrameIsNone(t *testing.T) {
	s, err := New(Config{Kind: Length, Length: LengthField{Bytes: 1}, Checksum: XOR8, SumFrom: 200})
	if err != nil {
		t.Fatal(err)
	}
	s.Write([]byte{1, 7, 7, 0, 0})
	if f, ok := s.Next(); ok {
		t.Errorf("%x came out", f)
	}
}

func TestSilencesOfALineThatSaysNothingAreForgotten(t *testing.T) {
	s, err := New(Config{Kind: Gap})
	if err != nil {
		t.Fatal(err)
	}
	s.Write([]byte("a"))
	for range 1000 {
		s.Idle()
	}
	if len(s.idle) > 1 {
		t.Errorf("%d silences are remembered", len(s.idle))
	}
}
