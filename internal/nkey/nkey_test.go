package nkey

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"
)

// TestSignaturesAreThoseOfNkeys: the same seed is the same key, and signs the same.
func TestSignaturesAreThoseOfNkeys(t *testing.T) {
	for n := range 50 {
		theirs := pair(t, nkeys.CreateUser)
		key, err := parseSeed([]byte(theirs.seed))
		if err != nil {
			t.Fatal(err)
		}
		ours := Identity{Key: key}
		if got := ours.Public(); got != theirs.public {
			t.Fatalf("%s, want %s", got, theirs.public)
		}
		nonce := strings.Repeat("nonce", n)
		signature, err := theirs.Sign([]byte(nonce))
		if err != nil {
			t.Fatal(err)
		}
		if got := ours.Sign(nonce); got != base64.RawURLEncoding.EncodeToString(signature) {
			t.Fatalf("%s for %q", got, nonce)
		}
	}
}

func TestOtherSeedsAreRefused(t *testing.T) {
	user := pair(t, nkeys.CreateUser)
	for name, bad := range map[string]string{
		"Empty": "", "Short": user.seed[:57], "Long": user.seed + "A", "NotBase32": "S!" + user.seed[2:], "Public": user.public,
		"Account": pair(t, nkeys.CreateAccount).seed, "Operator": pair(t, nkeys.CreateOperator).seed, "Server": pair(t, nkeys.CreateServer).seed,
		"LowerCase": strings.ToLower(user.seed),
	} {
		if key, err := parseSeed([]byte(bad)); err == nil || key != nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One wrong character anywhere is noticed, but for the two bits of the last one
	// that stand for nothing.
	for i := range len(user.seed) {
		wrong := []byte(user.seed)
		wrong[i] = map[bool]byte{true: '7', false: 'B'}[wrong[i] != '7']
		key, err := parseSeed(wrong)
		if err == nil && !(i == len(wrong)-1 && bytes.Equal(key.Seed(), must(t, user.seed).Seed())) {
			t.Errorf("character %d: taken", i)
		}
	}
}

func must(t testing.TB, seed string) ed25519.PrivateKey {
	t.Helper()
	key, err := parseSeed([]byte(seed))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// CRC-16/XMODEM's check value, of the catalogue of CRCs.
func TestCRC16(t *testing.T) {
	if got := crc16([]byte("123456789")); got != 0x31c3 {
		t.Errorf("%#x", got)
	}
}

// TestFilesOfCredentials: what nkeys reads from a file, and what we do.
func TestFilesOfCredentials(t *testing.T) {
	user := pair(t, nkeys.CreateUser)
	const jwt = "eyJ0.eyJq.c2ln"
	creds := "-----BEGIN NATS USER JWT-----\n" + jwt + "\n------END NATS USER JWT------\n\n************************* IMPORTANT *************************\n" +
		"NKEY Seed printed below can be used to sign and prove identity.\n\n-----BEGIN USER NKEY SEED-----\n" + user.seed + "\n------END USER NKEY SEED------\n\n*************************************************************\n"
	for name, text := range map[string]string{"nsc": creds, "CRLF": strings.ReplaceAll(creds, "\n", "\r\n"), "indented": strings.ReplaceAll(creds, "\n", "\n  ")} {
		id, err := parseCreds([]byte(text))
		if err != nil || id.JWT != jwt || id.Public() != user.public {
			t.Errorf("%s: %s, %v", name, id.JWT, err)
		}
		if key, err := findSeed([]byte(text)); err != nil || !key.Equal(id.Key) {
			t.Errorf("%s: %v", name, err)
		}
	}
	theirs, err := nkeys.ParseDecoratedJWT([]byte(creds))
	if err != nil || theirs != jwt {
		t.Errorf("nkeys reads %q, %v", theirs, err)
	}
	for name, text := range map[string]string{"bare": user.seed, "line": "# the gateway's\n" + user.seed + "\n"} {
		if key, err := findSeed([]byte(text)); err != nil || (Identity{Key: key}).Public() != user.public {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"Empty": "", "JWTOnly": creds[:strings.Index(creds, "***")], "SeedOnly": creds[strings.Index(creds, "-----BEGIN USER"):],
		"Swapped": strings.NewReplacer(jwt, user.seed, user.seed, jwt).Replace(creds), "Cut": creds[:len(creds)-90],
	} {
		if id, err := parseCreds([]byte(text)); err == nil || strings.Contains(err.Error(), user.seed) {
			t.Errorf("%s: %v, %v", name, id.JWT, err)
		}
	}
}

// FuzzSeed: no text makes a panic, and what is taken is what nkeys takes.
func FuzzSeed(f *testing.F) {
	f.Add([]byte("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := parseSeed(text)
		if err != nil {
			return
		}
		theirs, err := nkeys.FromSeed(text)
		if err != nil {
			t.Fatalf("%q is a seed, and not to nkeys: %v", text, err)
		}
		if public, err := theirs.PublicKey(); err != nil || public != (Identity{Key: key}).Public() {
			t.Fatalf("%q: %s, %v", text, public, err)
		}
	})
}

// FuzzCreds: no file makes a panic, or more than it is.
func FuzzCreds(f *testing.F) {
	f.Add([]byte("-----BEGIN NATS USER JWT-----\na.b.c\n------END NATS USER JWT------\n-----BEGIN USER NKEY SEED-----\nSUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n------END USER NKEY SEED------\n"))
	f.Add([]byte("---a---\n---b---\n---c---\nx\n---d---"))
	f.Fuzz(func(t *testing.T, text []byte) {
		size := 0
		for _, block := range fenced(text) {
			size += len(block)
			if len(block) == 0 || bytes.ContainsAny(block, "\n") {
				t.Errorf("a block of %q", block)
			}
		}
		id, err := parseCreds(text)
		if size > len(text) || err == nil && !bytes.Contains(text, []byte(id.JWT)) {
			t.Errorf("%q: %d bytes, %v", text, size, err)
		}
		if _, err := findSeed(text); err == nil && !bytes.Contains(text, []byte("SU")) {
			t.Errorf("%q has a seed", text)
		}
	})
}

// keyPair is an nkey with its texts.
type keyPair struct {
	nkeys.KeyPair
	public, seed string
}

func pair(t *testing.T, create func() (nkeys.KeyPair, error)) keyPair {
	t.Helper()
	k, err := create()
	if err != nil {
		t.Fatal(err)
	}
	public, err := k.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := k.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{k, public, string(seed)}
}
