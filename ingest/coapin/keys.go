package coapin

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

const (
	// maxIdentity and maxKey are what RFC 4279 §5.3 asks servers to take, in
	// bytes. A key of less than minKey can be guessed by whoever has heard one
	// handshake.
	maxIdentity = 128
	maxKey      = 64
	minKey      = 16
)

// Keys are the keys that are shared with peers, by identity.
type Keys struct{ known map[string][]byte }

// ReadKeys reads a file of keys: a line for each peer, with its identity, a
// colon and the key in hexadecimal. Empty lines and those that begin with # mean
// nothing. The error names the line that is wrong, and never a key.
func ReadKeys(path string) (*Keys, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	k, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("keys in %s: %w", path, err)
	}
	return k, nil
}

func parseKeys(text []byte) (*Keys, error) {
	k := &Keys{known: make(map[string][]byte)}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := k.add(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return k, lines.Err()
}

func (k *Keys) add(line string) error {
	const example = `make one with "openssl rand -hex 16"`
	colon := strings.LastIndexByte(line, ':')
	if colon < 0 {
		return fmt.Errorf("there is no colon — hint: write identity:key, the key in hexadecimal; %s", example)
	}
	identity := strings.TrimSpace(line[:colon])
	key, err := hex.DecodeString(strings.TrimSpace(line[colon+1:]))
	switch {
	case identity == "" || len(identity) > maxIdentity:
		return fmt.Errorf("identity of %d bytes — hint: write 1 to %d", len(identity), maxIdentity)
	case err != nil: // which tells a part of the key
		return fmt.Errorf("the key of %q is not hexadecimal — hint: %s", identity, example)
	case len(key) < minKey || len(key) > maxKey:
		return fmt.Errorf("the key of %q has %d bytes — hint: use %d to %d; %s", identity, len(key), minKey, maxKey, example)
	case k.known[identity] != nil:
		return fmt.Errorf("identity %q is there twice — hint: give every device one of its own", identity)
	}
	k.known[identity] = key
	return nil
}

// Key returns the key of an identity, nil if nobody has it.
func (k *Keys) Key(identity string) []byte { return k.known[identity] }

// Len returns the number of identities.
func (k *Keys) Len() int { return len(k.known) }
