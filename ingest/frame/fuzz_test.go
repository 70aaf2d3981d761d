package frame

import (
	"bytes"
	"path/filepath"
	"testing"
)

// fuzz feeds anything to a kind: no panic, no more memory than the bound, frames
// that are frames, every byte accounted for, and the same in other pieces.
func fuzz(f *testing.F, of ...Kind) {
	var all []Config
	dirs, err := filepath.Glob("testdata/*/in.txt")
	if err != nil {
		f.Fatal(err)
	}
	add := func(c Config) (ok bool) {
		for _, k := range of {
			ok = ok || c.Kind == k
		}
		if ok {
			c.DropHalf = true
			all = append(all, c)
		}
		return ok
	}
	for _, in := range dirs {
		if add(readConfig(f, filepath.Dir(in))) {
			f.Add(uint8(len(all)-1), uint16(3), bytes.Join(readInput(f, in), []byte("~")))
		}
	}
	for _, c := range framings() {
		if add(c) {
			wire, err := c.Append(nil, fit(c, []byte("123456789")))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(len(all)-1), uint16(7), append(wire, wire...))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, step uint16, b []byte) {
		c := all[int(which)%len(all)]
		parts := bytes.Split(b, []byte("~"))
		frames, stats, rest := feed(t, c, parts, func(n int) int { return n })
		again, statsAgain, restAgain := feed(t, c, parts, func(int) int { return int(step) })
		if got, want := describe(again, statsAgain, restAgain), describe(frames, stats, rest); got != want {
			t.Fatalf("in steps of %d:\n%s\nat once:\n%s", step, got, want)
		}
		out := uint64(rest) + stats.Garbage
		for _, frame := range frames {
			out += uint64(len(frame))
			if most := c.withDefaults().MaxFrame + maxHead; len(frame) == 0 || len(frame) > most {
				t.Fatalf("a frame of %d bytes", len(frame))
			}
		}
		if out > uint64(len(b)) || stats.Frames != uint64(len(frames)) || stats.Damage() > stats.Garbage+1 {
			t.Fatalf("%+v and %d that wait of %d", stats, rest, len(b))
		}
	})
}

func FuzzLine(f *testing.F)   { fuzz(f, Line) }
func FuzzSLIP(f *testing.F)   { fuzz(f, SLIP, HDLC) }
func FuzzCOBS(f *testing.F)   { fuzz(f, COBS) }
func FuzzLength(f *testing.F) { fuzz(f, Length) }
func FuzzSTXETX(f *testing.F) { fuzz(f, STXETX) }
func FuzzFixed(f *testing.F)  { fuzz(f, Fixed) }
func FuzzGap(f *testing.F)    { fuzz(f, Gap) }
func FuzzOctets(f *testing.F) { fuzz(f, Octets) }

// FuzzAppend frames anything: what was framed is found again, alone and whole.
func FuzzAppend(f *testing.F) {
	all := framings()
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
		f.Add(name, []byte("\x00\x02\x03\x10\xC0\xDB\x7D\x7E\r\n$*"))
	}
	f.Fuzz(func(t *testing.T, name string, payload []byte) {
		c, ok := all[name]
		if !ok {
			c = all[names[len(payload)%len(names)]]
		}
		wire, err := c.Append(nil, payload)
		if err != nil {
			return
		}
		got, stats, rest := feed(t, c, input{wire, nil}, func(n int) int { return n })
		if c.KeepHeader && len(got) == 1 { // its sync and length were filled in
			head := c.Length.Offset + 2
			got[0], payload = got[0][head:], payload[head:]
		}
		if len(got) != 1 || !bytes.Equal(got[0], payload) || stats != (Stats{Frames: 1}) || rest != 0 {
			t.Fatalf("%q came out as %q, %+v, %d", payload, got, stats, rest)
		}
	})
}
