package frame

import (
	"bufio"
	"bytes"
	"maps"
	"slices"
	"testing"
)

// Sensors say about that much at a time.
const (
	benchPayload = "temp=21.5 hum=40.2 bat=3.71 rssi=-67 seq=18446"
	benchFrames  = 1000
	benchRead    = 4 << 10
)

// BenchmarkScanner reads streams of short frames as a socket or a serial line
// delivers them. bufio is what a door would use without this package, for text
// lines without any check.
func BenchmarkScanner(b *testing.B) {
	lines := bytes.Repeat([]byte(benchPayload+"\n"), benchFrames)
	b.Run("bufio", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(lines)))
		for b.Loop() {
			n := 0
			for s := bufio.NewScanner(bytes.NewReader(lines)); s.Scan(); n++ {
				if len(s.Bytes()) != len(benchPayload) {
					b.Fatal(s.Text())
				}
			}
			if n != benchFrames {
				b.Fatal(n)
			}
		}
	})
	all := framings()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c := all[name]
		b.Run(name, func(b *testing.B) {
			payload := fit(c, []byte(benchPayload))
			frame, err := c.Append(nil, payload)
			if err != nil {
				b.Fatal(err)
			}
			scanAll(b, c, frame, len(payload))
		})
	}
}

// scanAll reads many times the same frame.
func scanAll(b *testing.B, c Config, frame []byte, payload int) {
	stream := bytes.Repeat(frame, benchFrames)
	piece := benchRead
	if c.Kind == Gap {
		piece = len(frame)
	}
	s, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		n := 0
		for rest := stream; len(rest) > 0; {
			part := rest[:min(piece, len(rest))]
			rest = rest[len(part):]
			s.Write(part)
			s.Idle() // means something to the kind gap only
			for {
				got, ok := s.Next()
				if !ok {
					break
				}
				if len(got) != payload {
					b.Fatalf("%q", got)
				}
				n++
			}
		}
		if n != benchFrames {
			b.Fatal(n)
		}
	}
}

// BenchmarkNoise is the worst that may come: each byte looks like the beginning
// of a frame of 60 kB, whose checksum is wrong.
func BenchmarkNoise(b *testing.B) {
	c, noise := hostile(1 << 20)
	s, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(noise)))
	for b.Loop() {
		for rest := noise; len(rest) > 0; {
			part := rest[:min(benchRead, len(rest))]
			rest = rest[len(part):]
			s.Write(part)
			if got, ok := s.Next(); ok {
				b.Fatalf("%d bytes of noise", len(got))
			}
		}
	}
}
