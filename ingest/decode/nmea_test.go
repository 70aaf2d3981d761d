package decode

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func FuzzNMEA(f *testing.F) {
	textSeeds(f, "nmea")
	configs := []NMEAConfig{{MaxReadings: fuzzReadings}, {MaxReadings: fuzzReadings, NoChecksum: true, Prefix: "talker"}, {MaxReadings: fuzzReadings, Sentences: []string{"RMC", "XDR"}, Prefix: "sentence"}}
	f.Fuzz(func(t *testing.T, payload []byte, which uint8) {
		d, err := NewNMEA(configs[int(which)%len(configs)])
		checkText(t, must(t, d, err), payload)
	})
}

// FuzzNMEAFields gives sentences with a right checksum whatever fields come, so
// that the fuzzing is not stopped by the checksum.
func FuzzNMEAFields(f *testing.F) {
	for kind := range sentences {
		f.Add("GP"+kind, "001031.00,A,4404.13993,N,12118.86023,W,0.146,,100117,,,A")
		f.Add("II"+kind, "1.0,T,2.0,M,3.0,N,4.0,K")
	}
	d, err := NewNMEA(NMEAConfig{MaxReadings: fuzzReadings})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, address, fields string) {
		checkText(t, d, sentenceOf(address+","+fields))
	})
}

// sentenceOf puts a sentence together with its checksum.
func sentenceOf(body string) []byte {
	var sum byte
	for _, c := range []byte(body) {
		sum ^= c
	}
	return fmt.Appendf(nil, "$%s*%02X\r\n", body, sum)
}

// TestNothingIsTakenFromADisturbedSentence flips every bit of sentences of
// every type, one at a time: all of them must be refused, in whole payloads.
func TestNothingIsTakenFromADisturbedSentence(t *testing.T) {
	d, err := NewNMEA(NMEAConfig{})
	must(t, d, err)
	for _, s := range []string{
		"GNRMC,001031.00,A,4404.13993,N,12118.86023,W,0.146,,100117,,,A",
		"GNGGA,001043.00,4404.14036,N,12118.85961,W,1,12,0.98,1113.0,M,-21.3,M,,",
		"HCXDR,A,171,D,PITCH,A,-37,D,ROLL,G,367,,MAGX,G,2420,,MAGY,G,-8984,,MAGZ",
		"WIMWV,214.8,R,0.1,K,A",
	} {
		sentence := sentenceOf(s)
		whole := append(sentenceOf("GPHDT,274.07,T"), sentence...)
		first := len(whole) - len(sentence)
		if rs, err := d.Decode(nil, Frame{Payload: whole}); err != nil || len(rs) < 2 {
			t.Fatalf("%s: %v, %v", s, rs, err)
		}
		for at := first; at < len(whole)-2; at++ {
			for bit := range 8 {
				disturbed := bytes.Clone(whole)
				disturbed[at] ^= 1 << bit
				if hexDigit := at >= len(whole)-4 && bytes.EqualFold(disturbed, whole); hexDigit {
					continue // a checksum may be in lower case
				}
				rs, err := d.Decode(nil, Frame{Payload: disturbed})
				if !errors.Is(err, ErrMalformed) || len(rs) > 0 {
					t.Errorf("%q: %v, %v", disturbed, rs, err)
				}
			}
		}
	}
}

// TestEverySentenceHasACase keeps the golden cases complete.
func TestEverySentenceHasACase(t *testing.T) {
	cases := goldenPayloads(t, "nmea")
	for kind := range sentences {
		if !strings.Contains(cases, kind+",") {
			t.Errorf("%s is in no golden case", kind)
		}
	}
}

func TestEveryPrefixOfASentenceIsRefused(t *testing.T) {
	d, err := NewNMEA(NMEAConfig{})
	must(t, d, err)
	whole := sentenceOf("GNRMC,001031.00,A,4404.13993,N,12118.86023,W,0.146,,100117,,,A")
	for n := range len(whole) - 2 {
		if rs, err := d.Decode(nil, Frame{Payload: whole[:n]}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v, %v", whole[:n], rs, err)
		}
	}
}
