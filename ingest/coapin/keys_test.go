package coapin

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeysAreRead(t *testing.T) {
	const key = "000102030405060708090a0b0c0d0e0f"
	path := filepath.Join(t.TempDir(), "keys")
	read := func(text string) (*Keys, error) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return ReadKeys(path)
	}
	k, err := read("# devices\n\nboiler:" + key + "\r\n  urn:dev:mac:1 : " + strings.ToUpper(key) + "00\n")
	if err != nil || k.Len() != 2 || len(k.Key("boiler")) != 16 || len(k.Key("urn:dev:mac:1")) != 17 || k.Key("x") != nil {
		t.Errorf("%v, %+v", err, k)
	}
	for text, want := range map[string]string{
		"boiler":                                "line 1: there is no colon — hint: ",
		"a:" + key + "\n:" + key:                "line 2: identity of 0 bytes — hint: ",
		strings.Repeat("i", 129) + ":" + key:    "identity of 129 bytes — hint: ",
		"a:secret":                              `the key of "a" is not hexadecimal — hint: `,
		"a:" + key[2:]:                          `the key of "a" has 15 bytes — hint: `,
		"a:" + strings.Repeat("00", 65):         `the key of "a" has 65 bytes — hint: `,
		"a:" + key + "\na:" + key:               `line 2: identity "a" is there twice — hint: `,
		"a:" + key + strings.Repeat("0", 70000): "token too long",
	} {
		_, err := read(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), key) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	if _, err := ReadKeys(path + "x"); err == nil {
		t.Error("a file that is not there was read")
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("# x\nboiler:000102030405060708090a0b0c0d0e0f\n"))
	f.Add([]byte("a:b:c"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := parseKeys(text)
		if err != nil {
			return
		}
		for identity, key := range k.known {
			if len(identity) == 0 || len(identity) > maxIdentity || len(key) < minKey || len(key) > maxKey || !bytes.Contains(text, []byte(identity)) {
				t.Fatalf("%q has a key of %d bytes", identity, len(key))
			}
		}
	})
}
