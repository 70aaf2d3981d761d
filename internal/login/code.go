package login

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"os"
	"strings"
	"time"
)

const (
	codeFile = "setup-code"
	// codeTime is how long the code is good for after a start.
	codeTime = 30 * time.Minute
	// codeLetters are those of Crockford's base 32, without look-alikes: five bits
	// each, so the code has 130.
	codeLetters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	codeLength  = 26
)

// code is the set-up code, without dashes; empty when there is none.
type code struct {
	text  string
	until time.Time
}

// is says whether somebody has typed the code.
func (c code) is(typed string) bool {
	a, b := sha256.Sum256([]byte(c.text)), sha256.Sum256([]byte(plainCode(typed)))
	return c.text != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// plainCode reads what was typed: large or small, in whatever groups, with the
// letters that look like digits.
func plainCode(typed string) string {
	if len(typed) > 4*codeLength {
		return ""
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '-', '\t', '\r', '\n':
			return -1
		case 'O':
			return '0'
		case 'I', 'L':
			return '1'
		}
		return r
	}, strings.ToUpper(typed))
}

// String writes the code in groups of five.
func (c code) String() string {
	var b strings.Builder
	for i, r := range c.text {
		if i > 0 && i%5 == 0 && i < 25 {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func newCode() string {
	text := make([]byte, codeLength)
	rand.Read(text) // never fails
	for i, b := range text {
		text[i] = codeLetters[b%32]
	}
	return string(text)
}

// loadCode takes the code of the start before, or else makes one and writes it
// down. The caller holds g.mu, or is alone.
func (g *Gate) loadCode() error {
	if kept, err := os.ReadFile(g.path(codeFile)); err == nil {
		text := plainCode(string(kept))
		if len(text) == codeLength && strings.Trim(text, codeLetters) == "" {
			g.code.text = text
			return nil
		}
	}
	g.code.text = newCode()
	return write(g.path(codeFile), []byte(g.code.String()+"\n"))
}

// Code returns the set-up code, for who has access to the machine itself, and lets
// it be used for another half an hour.
func (g *Gate) Code() (string, time.Duration, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.operator != nil {
		return "", 0, say(nil, "the gateway has an operator already — hint: \"tidegate operator passwd\" sets another password")
	}
	if g.code.text == "" {
		_ = g.loadCode() // it is good all the same if it cannot be written down
	}
	g.code.until = g.config.Now().Add(codeTime)
	return g.code.String(), codeTime, nil
}

// PrintedCode returns the set-up code as long as there is no operator, else "".
func (g *Gate) PrintedCode() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.code.String()
}
