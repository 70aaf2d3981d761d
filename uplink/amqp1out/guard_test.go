package amqp1out

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

func TestFramesThatAreTooLargeAreFound(t *testing.T) {
	hello := []byte("AMQP\x00\x01\x00\x00")
	frame := func(size uint32) []byte {
		return append(binary.BigEndian.AppendUint32(nil, size), make([]byte, max(int(size)-4, 0))...)
	}
	for name, c := range map[string]struct {
		stream []byte
		good   bool
	}{
		"Nothing":      {nil, true},
		"Hello":        {hello, true},
		"Hellos":       {slices.Concat(hello, frame(20), hello, frame(8), frame(100)), true},
		"Largest":      {frame(maxFrame), true},
		"TooLarge":     {slices.Concat(hello, frame(8), binary.BigEndian.AppendUint32(nil, maxFrame+1)), false},
		"TooSmall":     {frame(7), false},
		"Zero":         {frame(0), false},
		"HTTP":         {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), false},
		"AMQP 0-9-1":   {[]byte{1, 0, 0, 0, 0, 1, 0xfc}, false},
		"Not whole":    {frame(100)[:50], true},
		"Head in half": {frame(100)[:3], true},
	} {
		for step := 1; step <= len(c.stream)+1; step = step*2 + 1 {
			var f frames
			var err error
			for p := range slices.Chunk(c.stream, step) {
				if err = f.follow(p); err != nil {
					break
				}
			}
			if (err == nil) != c.good {
				t.Errorf("%s in pieces of %d: %v", name, step, err)
			}
		}
	}
}

// FuzzFrames: however a stream is cut, the verdict is the same, and never a panic.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("AMQP\x03\x01\x00\x00\x00\x00\x00\x08\x02\x00\x00\x00"), uint8(3))
	f.Add([]byte("HTTP/1.1"), uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint8) {
		var whole, parts frames
		want := whole.follow(bytes.Clone(stream))
		var got error
		for p := range slices.Chunk(stream, int(cut)+1) {
			if got = parts.follow(p); got != nil {
				break
			}
		}
		if (got == nil) != (want == nil) || got == nil && parts != whole {
			t.Errorf("%v in pieces, %v whole", got, want)
		}
	})
}
