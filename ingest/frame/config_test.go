package frame

import (
	"strings"
	"testing"
)

func TestFramingsThatMakeNoSenseAreRefusedWithAHint(t *testing.T) {
	for what, c := range map[string]Config{
		"no kind of framing has the number 9":                {Kind: kinds},
		"no checksum has the number 13":                      {Checksum: checksums},
		"no form of checksums has the number 4":              {Checksum: CRC8, Form: forms},
		"frames of -1 bytes":                                 {MaxFrame: -1},
		"frames of 16777217 bytes":                           {MaxFrame: MaxMaxFrame + 1},
		"framing cobs has no use for a delimiter":            {Kind: COBS, Delimiter: "\n"},
		"framing line has no use for sync bytes":             {Sync: "x"},
		"framing gap has no use for a trailer":               {Kind: Gap, Trailer: "x"},
		"framing slip has no use for a first byte":           {Kind: SLIP, Checksum: CRC8, SumFrom: 1},
		"framing fixed has no use for a header that is kept": {Kind: Fixed, Size: 3, KeepHeader: true},
		"framing length has no use for a size":               {Kind: Length, Size: 3},
		"framing line has no use for a checksum after":       {Checksum: XOR8, Form: Hex, Envelope: Envelope{SumAfterEnd: true}},
		"the delimiter has 17 bytes":                         {Delimiter: strings.Repeat("x", 17)},
		"a form without a checksum":                          {Form: Hex},
		"a separator without a checksum in hex":              {Kind: Gap, Checksum: CRC8, Separator: "*"},
		"the checksum of NMEA stands at the end of a line":   {Kind: Gap, Checksum: NMEA},
		"a checksum in binary may look like the end of a l":  {Checksum: CRC8},
		"there is no checksum that could follow":             {Kind: STXETX, Envelope: Envelope{SumAfterEnd: true}},
		"a checksum in binary may look like the end of the":  {Kind: STXETX, Checksum: XOR8},
		"the separator ends the line":                        {Checksum: CRC8, Form: Hex, Separator: "\r"},
		"framing gap has no length field":                    {Kind: Gap, Length: LengthField{Bytes: 1}},
		"a length field of 3 bytes":                          {Kind: Length, Length: LengthField{Bytes: 3}},
		"the length field stands after 0 bytes":              {Kind: Length, Sync: "x"},
		"300 is added to the length":                         {Kind: Length, Length: LengthField{Adjust: 300}},
		"the checksum covers what begins at byte 257":        {Kind: Length, Checksum: CRC8, SumFrom: 257},
		"framing slip has no control characters":             {Kind: SLIP, Envelope: Envelope{Start: 1}},
		"no way of escaping has the number 3":                {Kind: STXETX, Envelope: Envelope{Escapes: escapes}},
		"frames begin and end with 7E":                       {Kind: STXETX, Envelope: Envelope{Start: 0x7E, End: 0x7E}},
		"the escape 02 begins or ends frames":                {Kind: STXETX, Envelope: Envelope{Escape: 2, Escapes: EscapeEach}},
		"frames of 3 bytes, of which 3 are no payload":       {Kind: Fixed, Size: 3, Sync: "x", Checksum: CRC16X25},
		"frames of 11 bytes, where at most 10":               {Kind: Fixed, Size: 11, MaxFrame: 10},
		"the checksum covers what begins at byte 4":          {Kind: Fixed, Size: 5, Checksum: CRC8, SumFrom: 4},
	} {
		err := c.Check()
		if err == nil || !strings.HasPrefix(err.Error(), what) || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%+v: %v, want %q", c, err, what)
		}
		if s, err := New(c); s != nil || err == nil {
			t.Errorf("%+v: New takes what Check refuses", c)
		}
	}
	for name, c := range framings() {
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPayloadsThatCannotBeFramedAreRefused(t *testing.T) {
	for what, c := range map[string]struct {
		Config
		payload string
	}{
		"an empty frame":                     {Config{}, ""},
		"a frame of 3 bytes":                 {Config{MaxFrame: 2}, "123"},
		"the line ends at byte 1 already":    {Config{}, "1\n2"},
		"the line ends at byte 2 already":    {Config{Delimiter: "--"}, "12-"},
		"the line \"GPGLL\" is no sentence":  {Config{Checksum: NMEA}, "GPGLL"},
		"the line \"$GP*LL\" is no sentence": {Config{Checksum: NMEA}, "$GP*LL"},
		"the length 256 does not go":         {Config{Kind: Length, Length: LengthField{Bytes: 1}}, strings.Repeat("x", 256)},
		"the length -2 does not go":          {Config{Kind: Length, Length: LengthField{Adjust: 3}}, "x"},
		"a frame of 1 bytes with a header":   {Config{Kind: Length, KeepHeader: true}, "x"},
		"a frame of 3 bytes, where the":      {Config{Kind: Length, Checksum: CRC8, SumFrom: 4}, "x"},
		"a payload of 2 bytes in frames":     {Config{Kind: Fixed, Size: 3}, "xx"},
		"the payload holds 02 or 03":         {Config{Kind: STXETX}, "a\x03"},
	} {
		dst, err := c.Append([]byte("kept"), []byte(c.payload))
		if err == nil || !strings.HasPrefix(err.Error(), what) || !strings.Contains(err.Error(), " — hint: ") || string(dst) != "kept" {
			t.Errorf("%q, %v, want %q", dst, err, what)
		}
	}
}

func TestWhichFramingsFindTheirFramesAgain(t *testing.T) {
	for _, c := range []struct {
		Config
		resyncs bool
	}{
		{Config{}, true}, {Config{Kind: COBS}, true}, {Config{Kind: Gap}, true}, {Config{Kind: STXETX}, true},
		{Config{Kind: Octets}, false}, {Config{Kind: Length}, false}, {Config{Kind: Fixed, Size: 4}, false},
		{Config{Kind: Length, Checksum: CRC8}, true}, {Config{Kind: Length, Trailer: "x"}, true},
		{Config{Kind: Fixed, Size: 4, Sync: "x"}, true},
	} {
		if got := c.Resyncs(); got != c.resyncs {
			t.Errorf("%+v: %v", c.Config, got)
		}
	}
}
