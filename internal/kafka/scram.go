package kafka

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// Plain returns the one step of PLAIN (RFC 4616).
func Plain(user, password string) []byte { return []byte("\x00" + user + "\x00" + password) }

// OAuthBearer returns the one step of OAUTHBEARER (RFC 7628), or an error for a
// token that has bytes which none may have.
func OAuthBearer(token string) ([]byte, error) {
	if token == "" {
		return nil, errors.New("the token is empty")
	}
	if i := strings.IndexFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }); i >= 0 {
		return nil, fmt.Errorf("the token has a character that none may have, at %d", i)
	}
	return []byte("n,,\x01auth=Bearer " + token + "\x01\x01"), nil
}

// SCRAM is a login that does not give the password away (RFC 5802, 7677).
type SCRAM struct {
	hash     func() hash.Hash
	password string
	first    string // ours, without its header
	nonce    string
	proof    []byte // that the other side must show
}

// Bounds of how often the other side may have us hash. Kafka asks for 4096 and
// more; an impostor must not keep a small processor at work for hours.
const (
	minRounds = 4096
	maxRounds = 1 << 20
)

// NewSCRAM256 begins a login of SCRAM-SHA-256. The nonce must be a new one:
// printable, without commas.
func NewSCRAM256(user, password, nonce string) *SCRAM {
	return newSCRAM(sha256.New, user, password, nonce)
}

// NewSCRAM512 begins a login of SCRAM-SHA-512.
func NewSCRAM512(user, password, nonce string) *SCRAM {
	return newSCRAM(sha512.New, user, password, nonce)
}

func newSCRAM(h func() hash.Hash, user, password, nonce string) *SCRAM {
	name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user)
	return &SCRAM{hash: h, password: password, first: "n=" + name + ",r=" + nonce, nonce: nonce}
}

// First returns what is said first.
func (s *SCRAM) First() []byte { return []byte("n,," + s.first) }

// Answer returns what is said to the other side's first step.
func (s *SCRAM) Answer(first []byte) ([]byte, error) {
	fields := strings.SplitN(string(first), ",", 4)
	if len(fields) < 3 {
		return nil, fmt.Errorf("SCRAM: %w", ErrAnswer)
	}
	nonce, ok1 := strings.CutPrefix(fields[0], "r=")
	encoded, ok2 := strings.CutPrefix(fields[1], "s=")
	rounds, ok3 := strings.CutPrefix(fields[2], "i=")
	salt, err := base64.StdEncoding.DecodeString(encoded)
	if !ok1 || !ok2 || !ok3 || err != nil || len(nonce) <= len(s.nonce) || !strings.HasPrefix(nonce, s.nonce) {
		return nil, fmt.Errorf("SCRAM: %w", ErrAnswer)
	}
	n, err := strconv.Atoi(rounds)
	if err != nil || n < minRounds || n > maxRounds {
		return nil, fmt.Errorf("SCRAM: the broker asks for %.20q rounds of hashing; from %d to %d make sense", rounds, minRounds, maxRounds)
	}
	salted, err := pbkdf2.Key(s.hash, s.password, salt, n, s.hash().Size())
	if err != nil {
		return nil, fmt.Errorf("SCRAM: %w", err)
	}
	last := "c=biws,r=" + nonce // biws is the header n,,
	said := s.first + "," + string(first) + "," + last
	clientKey := s.mac(salted, "Client Key")
	stored := s.hash()
	stored.Write(clientKey)
	proof := s.mac(stored.Sum(nil), said)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	s.proof = s.mac(s.mac(salted, "Server Key"), said)
	return []byte(last + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// Verify checks that the other side knows the password, too.
func (s *SCRAM) Verify(last []byte) error {
	field, _, _ := bytes.Cut(last, []byte(","))
	encoded, ok := bytes.CutPrefix(field, []byte("v="))
	shown, err := base64.StdEncoding.DecodeString(string(encoded))
	if !ok || err != nil || s.proof == nil || !hmac.Equal(shown, s.proof) {
		return errors.New("SCRAM: the broker does not know the password; somebody else may be answering in its place")
	}
	return nil
}

func (s *SCRAM) mac(key []byte, text string) []byte {
	m := hmac.New(s.hash, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
