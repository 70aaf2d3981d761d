// Package passwd reads, checks and writes password files as mosquitto_passwd
// makes them: one user a line, his password hashed.
//
//	name:$7$rounds$salt$hash    PBKDF2 with HMAC-SHA-512
//	name:$6$salt$hash           one SHA-512, of mosquitto before 2.0
//
// Salt and hash are base64. Empty lines and lines that begin with # say
// nothing. Everything else that is not as above is an error with its line:
// a password file is not the place to guess.
//
// Parse reads the text of a file, Users.Check compares, Set and Delete write. Hash
// and ParseHash are for who keeps a password elsewhere, CheckLine and Line are for who
// writes a whole file.
package passwd

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"
)

const (
	// Rounds is how often Set hashes a password. A login costs some 60 ms of a
	// small processor's time, once: see Users.Check.
	Rounds = 100_000
	// MaxPassword is how long a password may be, in bytes.
	MaxPassword = 1024

	// maxRounds bounds what a typing error can cost at every login.
	maxRounds = 10_000_000
	maxName   = 256
	maxSalt   = 64
	hashSize  = 64 // of SHA-512
)

// entry is one user's line.
type entry struct {
	rounds     int // of PBKDF2; zero for one SHA-512
	salt, hash []byte
}

// Read parses a password file. Its errors name the file, and the line.
func Read(path string) (*Users, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read passwords: %w", err)
	}
	return Parse(path, text)
}

// Parse parses the text of a password file; name stands for it in errors.
func Parse(name string, text []byte) (*Users, error) {
	entries := make(map[string]entry)
	lines := bufio.NewScanner(bytes.NewReader(text))
	for number := 1; lines.Scan(); number++ {
		user, hashed, ok := cutLine(lines.Text())
		if !ok {
			continue
		}
		e, err := parseLine(user, hashed)
		if _, twice := entries[user]; err == nil && twice {
			err = fmt.Errorf("user %q occurs twice", user)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		entries[user] = e
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return newUsers(entries), nil
}

// cutLine parts a user's name from the rest. It returns false for a line that
// says nothing.
func cutLine(line string) (user, hashed string, ok bool) {
	line = strings.TrimRight(line, " \t\r")
	if line == "" || line[0] == '#' {
		return "", "", false
	}
	user, hashed, _ = strings.Cut(line, ":")
	return user, hashed, true
}

func parseLine(user, hashed string) (entry, error) {
	if err := checkName(user); err != nil {
		return entry{}, err
	}
	return parseHash(hashed)
}

// parseHash parses what follows the user's name.
func parseHash(hashed string) (entry, error) {
	fields := strings.Split(hashed, "$")
	var e entry
	var err error
	switch {
	case len(fields) == 5 && fields[0] == "" && fields[1] == "7":
		e.rounds, err = strconv.Atoi(fields[2])
		if err != nil || e.rounds < 1 || e.rounds > maxRounds {
			return entry{}, fmt.Errorf("%q is no number of rounds from 1 to %d", fields[2], maxRounds)
		}
		fields = fields[3:]
	case len(fields) == 4 && fields[0] == "" && fields[1] == "6":
		fields = fields[2:]
	default:
		// Without what was found: it may be a password in plain text.
		return entry{}, fmt.Errorf("no hash of the kinds $7$ and $6$ follows the user's name — hint: set the password with \"tidegate passwd\"")
	}
	if e.salt, err = base64.StdEncoding.DecodeString(fields[0]); err != nil || len(e.salt) == 0 || len(e.salt) > maxSalt {
		return entry{}, fmt.Errorf("the salt is not base64 of 1 to %d bytes", maxSalt)
	}
	if e.hash, err = base64.StdEncoding.DecodeString(fields[1]); err != nil || len(e.hash) != hashSize {
		return entry{}, fmt.Errorf("the hash is not base64 of %d bytes", hashSize)
	}
	return e, nil
}

// appendLine appends the line of a user, without its end.
func appendLine(dst []byte, user string, e entry) []byte {
	return appendHash(append(append(dst, user...), ':'), e)
}

func appendHash(dst []byte, e entry) []byte {
	dst = fmt.Appendf(dst, "$7$%d$", e.rounds)
	dst = base64.StdEncoding.AppendEncode(dst, e.salt)
	dst = append(dst, '$')
	return base64.StdEncoding.AppendEncode(dst, e.hash)
}

// checkName says what is wrong with a user's name. A colon ends the name in the
// file, so no name can contain one.
func checkName(user string) error {
	switch {
	case user == "":
		return fmt.Errorf("the user's name is empty")
	case len(user) > maxName:
		return fmt.Errorf("the user's name has more than %d bytes", maxName)
	case user[0] == '#' || strings.TrimSpace(user) != user || strings.ContainsFunc(user, isForbidden):
		return fmt.Errorf("%q is no user name: it may not contain a colon or control characters, nor begin with # or end with blanks", user)
	}
	return nil
}

func isForbidden(r rune) bool { return r < ' ' || r == 0x7f || r == ':' || r == '\uFFFD' }
