package serialin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/internal/ptytest"
	"github.com/tidegate/tidegate/internal/serialport"
)

func decoders() []Named {
	return []Named{{"json", decode.NewJSON(decode.JSONConfig{})}}
}

// said is a sample of what a device says in a framing, with a pause behind each
// frame.
func said(t *testing.T, f frame.Config, payloads ...string) Sample {
	t.Helper()
	var s Sample
	for _, p := range payloads {
		var err error
		if s.Data, err = f.Append(s.Data, []byte(p)); err != nil {
			t.Fatal(err)
		}
		s.Pauses = append(s.Pauses, len(s.Data))
	}
	return s
}

func noise(n int) []byte {
	random := rand.New(rand.NewPCG(7, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

func TestWhatIsHeardIsExplained(t *testing.T) {
	binary := []string{"\x01\x03\x02\x00\x17", "\x01\x03\x02\x00\x18", "\x01\x03\x02\x01\x19", "\x01\x83\x02"}
	words := []string{`{"temp":21.5}`, `{"temp":21.6}`, `{"temp":21.7}`}
	for want, s := range map[string]Sample{
		"line json":        said(t, frame.Config{}, words...),
		"line nmea":        said(t, frame.Config{Checksum: frame.NMEA}, "$GPZDA,1", "$GPZDA,2", "$GPZDA,3"),
		"gap crc16-modbus": said(t, frame.Config{Kind: frame.Gap, Checksum: frame.CRC16Modbus}, binary...),
		"slip crc16-ccitt": said(t, frame.Config{Kind: frame.SLIP, Checksum: frame.CRC16CCITT}, binary...),
		"hdlc crc16-x25":   said(t, frame.Config{Kind: frame.HDLC, Checksum: frame.CRC16X25}, binary...),
		"cobs crc32":       said(t, frame.Config{Kind: frame.COBS, Checksum: frame.CRC32}, binary...),
		"stx-etx xor8":     said(t, frame.Config{Kind: frame.STXETX, Checksum: frame.XOR8, Envelope: frame.Envelope{SumAfterEnd: true}}, "12.5", "12.6", "12.7", "12.8"),
		"stx-etx none raw": said(t, frame.Config{Kind: frame.STXETX}, "+0012.5 kg", "+0012.5 kg", "+0012.7 kg"),
		"gap none json":    said(t, frame.Config{Kind: frame.Gap}, words...),
		"slip json crc32":  said(t, frame.Config{Kind: frame.SLIP, Checksum: frame.CRC32}, words...),
	} {
		cs := Judge(s, decoders())
		if len(cs) == 0 {
			t.Errorf("%s: not explained", want)
			continue
		}
		got := cs[0].Framing.Kind.String() + " " + cs[0].Framing.Checksum.String() + " " + cs[0].Decoder
		for _, word := range strings.Fields(want) {
			if !strings.Contains(got, word) {
				t.Errorf("%s was explained as %s: %v", want, got, cs[0].Evidence())
			}
		}
		if least := map[bool]int{true: Likely, false: Sure}[strings.Contains(want, "none")]; cs[0].Points < least || len(cs[0].Evidence()) == 0 {
			t.Errorf("%s: %d points: %v", want, cs[0].Points, cs[0].Evidence())
		}
	}
}

func TestNoiseAndDamageAreNoExplanation(t *testing.T) {
	for name, s := range map[string]Sample{
		"noise": {Data: noise(MaxSample)}, "little noise": {Data: noise(20)}, "nothing": {},
		"zeros": {Data: make([]byte, 500)}, "pauses": {Data: noise(100), Pauses: []int{20, 40, 60, 80, 100}},
	} {
		if cs := Judge(s, decoders()); len(cs) > 0 && cs[0].Points >= Likely {
			t.Errorf("%s: %d points for %v: %v", name, cs[0].Points, cs[0].Framing.Kind, cs[0].Evidence())
		}
	}
	s := said(t, frame.Config{}, `{"temp":21.5}`, `{"temp":21.6}`, `{"temp":21.7}`)
	s.Damaged = len(s.Data) / 2
	if cs := Judge(s, decoders()); cs[0].Points >= Sure {
		t.Errorf("half of it came damaged, and it is sure: %v", cs[0].Evidence())
	}
}

func TestTheRestOfAFrameIsNoFault(t *testing.T) {
	s := said(t, frame.Config{Checksum: frame.NMEA}, "$GPZDA,1", "$GPZDA,2", "$GPZDA,3", "$GPZDA,4")
	s.Data, s.Pauses = s.Data[5:], nil
	if cs := Judge(s, decoders()); cs[0].Points < Sure || len(cs[0].Frames) != 3 {
		t.Errorf("%d points: %v", cs[0].Points, cs[0].Evidence())
	}
}

func TestSevenBitsWithParityAreRecognised(t *testing.T) {
	text := []byte("1-0:1.8.0*255(000123.4*kWh)\r\n")
	with := func(odd int) Sample {
		s := Sample{Data: bytes.Clone(text)}
		for i, b := range s.Data {
			if bits.OnesCount8(b)%2 != odd {
				s.Data[i] |= 0x80
			}
		}
		return s
	}
	for want, s := range map[serialport.Parity]Sample{
		serialport.Even: with(0), serialport.Odd: with(1), serialport.None: {Data: text},
	} {
		if got := s.sevenBits(); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if got := (Sample{Data: noise(500)}).sevenBits(); got != serialport.None {
		t.Errorf("noise: %v", got)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte("{\"a\":1}\n"), 3)
	f.Add([]byte{0xC0, 1, 0xC0}, 1)
	f.Fuzz(func(t *testing.T, data []byte, pause int) {
		data = data[:min(len(data), MaxSample)]
		s := Sample{Data: data}
		if pause > 0 && pause <= len(data) {
			s.Pauses = []int{pause}
		}
		for _, c := range Judge(s, decoders()) {
			if c.Points < 0 || c.Points > 100 || c.Decoded > len(c.Frames) {
				t.Errorf("%+v", c)
			}
			c.Evidence()
		}
	})
}

func TestProbingFindsWhatADeviceSays(t *testing.T) {
	device, path := ptytest.New(t)
	stop := make(chan struct{})
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
				fmt.Fprintf(device, "{\"temp\":%d}\r\n", n)
			case <-stop:
				return
			}
		}
	}()
	defer close(stop)
	for listen := 50 * time.Millisecond; ; listen *= 10 { // it says little on a machine that is busy
		heard := 0
		cs, err := Probe(t.Context(), Probing{
			Port: serialport.Config{Path: path}, Listen: listen, Decoders: decoders(), Heard: func(Sample) { heard++ },
		})
		found := err == nil && len(cs) > 0 && cs[0].Points >= Sure && cs[0].Decoder == "json"
		if !found && listen < time.Second {
			continue
		}
		if !found {
			t.Fatalf("%+v, %v", cs, err)
		}
		if heard == 0 || heard > len(UsualBauds()) {
			t.Errorf("%d settings were tried", heard)
		}
		return
	}
}

func TestProbingASilentDeviceSendsOnlyWhatItIsTold(t *testing.T) {
	device, path := ptytest.New(t)
	p := Probing{Port: serialport.Config{Path: path}, Bauds: []int{9600, 250000}, Listen: time.Millisecond}
	if cs, err := Probe(t.Context(), p); err != nil || len(cs) != 0 {
		t.Errorf("%v, %v", cs, err)
	}
	p.Send = []byte("T?\r\n")
	if _, err := Probe(t.Context(), p); err != nil {
		t.Error(err)
	}
	mustHear(t, device, "T?\r\nT?\r\n") // at two speeds, and nothing before
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Probe(ctx, p); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A UART of a PC ends at 115200 baud, and the usual speeds do not.
func TestProbingPassesOverWhatTheDriverCannot(t *testing.T) {
	word := said(t, frame.Config{}, `{"temp":21.5}`, `{"temp":21.6}`, `{"temp":21.7}`)
	refused := 0
	p := Probing{
		Decoders: decoders(), Refused: func(serialport.Config) { refused++ },
		listenTo: func(_ context.Context, c serialport.Config, _ []byte, _ time.Duration) (Sample, error) {
			if c.Baud > 115200 {
				return Sample{}, fmt.Errorf("%s: %w", c.Path, serialport.ErrUnable)
			}
			s := Sample{Port: c, Data: []byte{0xAA, 0xF1, 0x80}}
			if c.Baud == 300 {
				s.Data = word.Data
			}
			return s, nil
		},
	}
	cs, err := Probe(t.Context(), p)
	if err != nil || len(cs) == 0 || cs[0].Sample.Port.Baud != 300 || refused != 3 {
		t.Errorf("%d candidates, %d refused, %v", len(cs), refused, err)
	}
	p.Bauds = []int{230400, 921600}
	if _, err := Probe(t.Context(), p); !errors.Is(err, serialport.ErrUnable) {
		t.Errorf("all are refused: %v", err)
	}
}

// A device with parity is heard as damaged bytes until its parity is tried.
func TestProbingTriesParitiesAtThePromisingSpeed(t *testing.T) {
	words := said(t, frame.Config{}, `{"temp":21.5}`, `{"temp":21.6}`, `{"temp":21.7}`)
	for want, right := range map[string]format{"9600 8E1": {8, serialport.Even}, "9600 8O1": {8, serialport.Odd}} {
		cs, err := Probe(t.Context(), Probing{
			Bauds: []int{115200, 9600}, Decoders: decoders(),
			listenTo: func(_ context.Context, c serialport.Config, _ []byte, _ time.Duration) (Sample, error) {
				s := Sample{Port: c, Data: noise(50), Damaged: 25}
				if c.Baud == 9600 {
					s.Data, s.Damaged = words.Data, len(words.Data)/2
				}
				if c.Baud == 9600 && c.DataBits == right.bits && c.Parity == right.parity {
					s.Damaged = 0
				}
				return s, nil
			},
		})
		if err != nil || len(cs) == 0 || cs[0].Sample.Port.String() != want || cs[0].Points < Sure {
			t.Errorf("%s: %+v, %v", want, cs, err)
		}
	}
}

func TestProbingListensLongerToWhatSpeaksSeldom(t *testing.T) {
	word := said(t, frame.Config{}, `{"temp":21.5}`)
	var spans []time.Duration
	_, err := Probe(t.Context(), Probing{
		Bauds: []int{9600}, Listen: time.Second, Decoders: decoders(),
		listenTo: func(_ context.Context, c serialport.Config, _ []byte, d time.Duration) (Sample, error) {
			spans = append(spans, d)
			return Sample{Port: c, Data: word.Data}, nil
		},
	})
	if err != nil || len(spans) < 2 || spans[0] != time.Second || spans[1] != longer*time.Second {
		t.Errorf("listened for %v, %v", spans, err)
	}
}
