// Package nkey logs in to NATS with a signature: with the seed of a user, or with a
// JWT and its seed.
package nkey

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Kinds of nkeys: what their first characters stand for, five bits each.
//
// Source: https://docs.nats.io/reference/reference-protocols/nats-protocol/nkeys
// and the source of nkeys, whose signatures the tests compare.
const (
	kindSeed = 18 << 3 // S
	kindUser = 20 << 3 // U
)

// seedSize is that of a seed before base32, in bytes: two that say what it is,
// the key, and two of CRC-16.
const seedSize = 2 + ed25519.SeedSize + 2

// maxFile bounds a file with credentials, in bytes. JWTs with many permissions
// have a few kilobytes.
const maxFile = 64 << 10

// Identity is who logs in with a signature. The zero value is nobody.
type Identity struct {
	JWT string // empty: by the key alone
	Key ed25519.PrivateKey
}

// Public is the text of the public key: "U…".
func (i Identity) Public() string {
	raw := append([]byte{kindUser}, i.Key.Public().(ed25519.PublicKey)...)
	raw = binary.LittleEndian.AppendUint16(raw, crc16(raw))
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw)
}

// Sign proves to have the key.
func (i Identity) Sign(nonce string) string {
	return base64.RawURLEncoding.EncodeToString(ed25519.Sign(i.Key, []byte(nonce)))
}

// Read reads a file with the seed of a user, or one with a JWT and its seed. One of
// them has no name; if neither has, it returns nobody.
func Read(nkeyFile, credsFile string) (Identity, error) {
	path := nkeyFile + credsFile
	if path == "" {
		return Identity{}, nil
	}
	text, err := readFile(path)
	defer clear(text)
	if err != nil {
		return Identity{}, err
	}
	if nkeyFile != "" {
		key, err := findSeed(text)
		if err != nil {
			return Identity{}, fmt.Errorf("nkey file %s: %w", path, err)
		}
		return Identity{Key: key}, nil
	}
	id, err := parseCreds(text)
	if err != nil {
		return Identity{}, fmt.Errorf("creds file %s: %w", path, err)
	}
	return id, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return text, err
}

// parseCreds reads a JWT and the seed of its user, each between a line that begins
// it and one that ends it, as nsc writes them:
//
//	-----BEGIN NATS USER JWT-----
//	eyJ0eXAiOiJKV1Qi...
//	------END NATS USER JWT------
func parseCreds(text []byte) (Identity, error) {
	blocks := fenced(text)
	if len(blocks) < 2 {
		return Identity{}, errors.New("it does not have both a JWT and a seed")
	}
	jwt := string(blocks[0])
	if strings.Count(jwt, ".") != 2 {
		return Identity{}, errors.New("its first block is no JWT")
	}
	key, err := parseSeed(blocks[1])
	return Identity{jwt, key}, err
}

// findSeed finds the seed in a file that has it alone, on a line, or fenced.
func findSeed(text []byte) (ed25519.PrivateKey, error) {
	if blocks := fenced(text); len(blocks) > 0 {
		return parseSeed(blocks[len(blocks)-1])
	}
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); bytes.HasPrefix(line, []byte("S")) {
			return parseSeed(line)
		}
	}
	return nil, errors.New("it has no seed: none of its lines begins with SU")
}

// fenced returns the lines that stand alone between two lines of dashes.
func fenced(text []byte) (blocks [][]byte) {
	var before, inside []byte // the lines before
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if isFence(line) && isFence(before) && len(inside) > 0 && !isFence(inside) {
			blocks = append(blocks, inside)
			before, inside = nil, nil
			continue
		}
		before, inside = inside, line
	}
	return blocks
}

func isFence(line []byte) bool {
	return len(line) > 6 && bytes.HasPrefix(line, []byte("---")) && bytes.HasSuffix(line, []byte("---"))
}

// parseSeed returns the key of the seed of a user. What it says of a bad one does
// not quote it.
func parseSeed(text []byte) (ed25519.PrivateKey, error) {
	var raw [seedSize]byte
	encoding := base32.StdEncoding.WithPadding(base32.NoPadding)
	defer clear(raw[:])
	if len(text) != encoding.EncodedLen(seedSize) {
		return nil, fmt.Errorf("a seed has %d characters, and this has %d", encoding.EncodedLen(seedSize), len(text))
	}
	if n, err := encoding.Decode(raw[:], text); err != nil || n != seedSize {
		return nil, errors.New("the seed is not in base32")
	}
	end := seedSize - 2
	if binary.LittleEndian.Uint16(raw[end:]) != crc16(raw[:end]) {
		return nil, errors.New("the checksum of the seed is wrong: a character is")
	}
	// Five bits say that it is a seed, and eight of what.
	if raw[0]&0xf8 != kindSeed || raw[0]<<5|raw[1]>>3 != kindUser {
		return nil, errors.New("it is not the seed of a user, which begins with SU")
	}
	return ed25519.NewKeyFromSeed(raw[2:end]), nil
}

// crc16 is CRC-16/XMODEM: polynomial 0x1021, from zero, the highest bit first.
func crc16(data []byte) (sum uint16) {
	for _, b := range data {
		sum ^= uint16(b) << 8
		for range 8 {
			carry := sum & 0x8000
			sum <<= 1
			if carry != 0 {
				sum ^= 0x1021
			}
		}
	}
	return sum
}
