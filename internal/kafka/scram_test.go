package kafka

import (
	"fmt"
	"strings"
	"testing"
)

// The example of RFC 7677, 3.
func TestSCRAMAsInItsRFC(t *testing.T) {
	const (
		first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
		said  = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
		last  = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
	)
	s := NewSCRAM256("user", "pencil", "rOprNGfwEbeRWgbNEkqO")
	if got := string(s.First()); got != "n,,n=user,r=rOprNGfwEbeRWgbNEkqO" {
		t.Error(got)
	}
	if err := s.Verify([]byte(last)); err == nil {
		t.Error("the proof came before its question")
	}
	if got, err := s.Answer([]byte(first)); err != nil || string(got) != said {
		t.Errorf("%s %v", got, err)
	}
	if err := s.Verify([]byte(last)); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"", "v=", "e=other-error", strings.Replace(last, "6rri", "6rrj", 1), "v=6rriTRBi23WpRR"} {
		if err := s.Verify([]byte(wrong)); err == nil {
			t.Errorf("%q is taken for the proof", wrong)
		}
	}
	if got := string(NewSCRAM512("a=b,c", "", "n").First()); got != "n,,n=a=3Db=2Cc,r=n" {
		t.Error(got)
	}
}

// Who stands between must not have us hash for hours, nor choose the nonce alone.
func TestSCRAMThatMakesNoSense(t *testing.T) {
	for name, first := range map[string]string{
		"nothing":       "",
		"another nonce": "r=other,s=W22Z,i=4096",
		"only ours":     "r=nonce,s=W22Z,i=4096",
		"no salt":       "r=nonceXX,i=4096,s=W22Z",
		"bad salt":      "r=nonceXX,s=?,i=4096",
		"few rounds":    "r=nonceXX,s=W22Z,i=1",
		"many rounds":   fmt.Sprint("r=nonceXX,s=W22Z,i=", maxRounds+1),
		"no number":     "r=nonceXX,s=W22Z,i=x",
	} {
		if got, err := NewSCRAM256("north", "right", "nonce").Answer([]byte(first)); err == nil {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestTokens(t *testing.T) {
	for _, bad := range []string{"", "a b", "a\x01b", "ü", "a\n"} {
		if got, err := OAuthBearer(bad); err == nil {
			t.Errorf("%q makes %q", bad, got)
		}
	}
	if got, err := OAuthBearer("eyJh.bG-c_i"); err != nil || string(got) != "n,,\x01auth=Bearer eyJh.bG-c_i\x01\x01" {
		t.Errorf("%q %v", got, err)
	}
}

// FuzzSCRAM: no first step of the other side makes ours panic, or worth anything
// without its proof.
func FuzzSCRAM(f *testing.F) {
	f.Add([]byte("r=nonceXX,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"), []byte("v=6rri"))
	f.Add([]byte("r=,s=,i="), []byte("v=="))
	f.Fuzz(func(t *testing.T, first, last []byte) {
		s := NewSCRAM512("north", "right", "nonce")
		if n := len(first); n > 7 && first[n-1] > '3' { // rounds cost time
			first[n-1] = '3'
		}
		said, err := s.Answer(first)
		if err == nil && !strings.HasPrefix(string(said), "c=biws,r=nonce") {
			t.Errorf("%q", said)
		}
		if s.Verify(last) == nil {
			t.Errorf("%q is taken for a proof", last)
		}
	})
}
