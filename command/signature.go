package command

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// MinKey is the shortest key of a signature, in bytes.
const MinKey = 16

// Keys are the secrets that commands may be signed with. None stands for commands
// that are not signed.
type Keys [][]byte

// ReadKeys reads a key from each line of a file that is not empty, so that a new
// one can be used beside the old one for a while.
func ReadKeys(path string) (Keys, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("keys of commands: %w", err)
	}
	if info.Size() > MaxBody {
		return nil, fmt.Errorf("keys of commands: %s has %d bytes — hint: it holds a key a line", path, info.Size())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("keys of commands: %w", err)
	}
	var keys Keys
	for line := range bytes.Lines(raw) {
		key := bytes.TrimSpace(line)
		switch {
		case len(key) == 0:
			continue
		case len(key) < MinKey:
			return nil, fmt.Errorf("keys of commands: a key in %s has %d characters — hint: at least %d, for example of \"openssl rand -hex 32\"", path, len(key), MinKey)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("keys of commands: %s is empty — hint: write \"openssl rand -hex 32\" into it", path)
	}
	return keys, nil
}

// Sign wraps a document so that whoever has the key knows that it is whole, and
// from somebody who has the key.
func Sign(document, key []byte) []byte {
	sum := hmac.New(sha256.New, key)
	sum.Write(document)
	wrapped, err := json.Marshal(envelope{Command: string(document), HMAC: hex.EncodeToString(sum.Sum(nil))})
	if err != nil {
		return nil // two texts can always be written
	}
	return wrapped
}

// envelope is a document that is signed: the document as a text, because the
// same object could be written in many ways, and the HMAC-SHA256 of that text.
type envelope struct {
	Command string `json:"command"`
	HMAC    string `json:"hmac"`
}

var (
	errUnsigned  = errors.New(`it is not signed — hint: send {"command":"…","hmac":"…"}, see docs/connect/commands.md`)
	errSignature = errors.New("the signature is of no key that is known here — hint: compare the key_file of both sides")
	errNoKey     = errors.New("it is signed, and there is no key here — hint: set key_file, or send the command itself")
)

// open parses what came, whether it is signed or not, and checks the signature.
// The command is also returned beside an error, as far as it could be read.
func (k Keys) open(body []byte) (Command, error) {
	e, signed, err := unwrap(body)
	if err != nil {
		return Command{}, err
	}
	if !signed {
		c, err := Parse(body)
		if err == nil && len(k) > 0 {
			err = errUnsigned
		}
		return c, err
	}
	if len(k) == 0 {
		c, _ := Parse([]byte(e.Command))
		return c, errNoKey
	}
	given, _ := hex.DecodeString(e.HMAC) // one that is none is equal to none
	for _, key := range k {
		sum := hmac.New(sha256.New, key)
		sum.Write([]byte(e.Command))
		if hmac.Equal(sum.Sum(nil), given) {
			c, err := Parse([]byte(e.Command))
			if err == nil {
				err = c.checkSigned()
			}
			return c, err
		}
	}
	return Command{}, errSignature // whoever cannot sign is told nothing about an id
}

// checkSigned wants of a signed command what keeps whoever carries it from using
// it elsewhere, or another day.
func (c Command) checkSigned() error {
	switch {
	case c.Gateway == "":
		return errors.New(`a signed command says for which gateway it is — hint: write "gateway"`)
	case c.Expires.IsZero() && (c.Issued.IsZero() || c.TTL == 0):
		return errors.New(`a signed command says until when it is good — hint: write "expires", or "issued" and "ttl"`)
	}
	return nil
}

// unwrap reads an envelope, and reports whether it is one.
func unwrap(body []byte) (e envelope, signed bool, err error) {
	others := false
	err = eachKey(body, func(key string, raw json.RawMessage) (err error) {
		switch key {
		case "command":
			signed = true
			e.Command, err = text(key, raw)
		case "hmac":
			signed = true
			e.HMAC, err = text(key, raw)
		default:
			others = true
		}
		return err
	})
	if err == nil && signed && (others || e.Command == "" || e.HMAC == "") {
		err = wrong(`write {"command":"…","hmac":"…"} and nothing else`, "the envelope is not whole")
	}
	return e, signed, err
}
