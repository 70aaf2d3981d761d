package login

import (
	"strings"
	"unicode/utf8"
)

const (
	leastPassword = 10   // characters
	mostPassword  = 1024 // bytes
)

// worst are passwords that are long enough and tried first, in lower case.
var worst = []string{
	"1234567890", "0123456789", "12345678910", "123456789a", "1234567891", "9876543210", "0987654321", "1122334455",
	"qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl;", "1q2w3e4r5t", "1qaz2wsx3edc", "q1w2e3r4t5", "qwerty1234", "qwerty12345", "qwerty123456",
	"password12", "password123", "password1234", "password123!", "passw0rd123", "p@ssw0rd123", "mypassword", "passwordpassword",
	"changeme123", "changemenow", "administrator", "admin12345", "admin123456", "adminadmin", "letmein123", "iloveyou12", "welcome123", "welcome1234",
	"raspberrypi", "raspberry1", "operator12", "operator123", "operator1234", "tidegate12", "tidegate123", "tidegate1234", "gateway123", "gateway1234", "technician",
}

// fit says what is wrong with a password that is to be the operator's.
func (g *Gate) fit(password string) error {
	g.mu.Lock()
	isCode := g.code.is(password)
	g.mu.Unlock()
	plain := strings.ToLower(strings.TrimSpace(password))
	first, _ := utf8.DecodeRuneInString(plain)
	rest, named := strings.CutPrefix(plain, strings.ToLower(g.config.Gateway))
	switch {
	case utf8.RuneCountInString(password) < leastPassword:
		return say(ErrUnfit, "the password is too short — hint: use %d characters or more; three or four words that have nothing to do with each other are good", leastPassword)
	case len(password) > mostPassword || !utf8.ValidString(password):
		return say(ErrUnfit, "the password has more than %d bytes, or is no text — hint: use a shorter one", mostPassword)
	case isCode:
		return say(ErrUnfit, "the set-up code is no password: it stands in the journal — hint: choose another")
	case named && g.config.Gateway != "" && strings.Trim(rest, "0123456789!-_. ") == "":
		return say(ErrUnfit, "the gateway's name is no password — hint: choose another")
	case strings.Trim(plain, string(first)) == "" || isWorst(plain):
		return say(ErrUnfit, "this password is one of those that are tried first — hint: three or four words that have nothing to do with each other are good")
	}
	return nil
}

func isWorst(plain string) bool {
	for _, w := range worst {
		if plain == w || strings.TrimRight(plain, "!.?") == w {
			return true
		}
	}
	return false
}
