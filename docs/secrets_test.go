package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	tableName  = regexp.MustCompile(`^\[+([\w.]+)\]+`)
	secretPath = regexp.MustCompile(`\b(\w*(?:password|token|secret|psk|key|creds)_file) = "(/[^"]*)"`)
)

// TestSecretsOfThePagesAreForRootsEyes: what people copy puts secrets where only root
// reads them. The exception is the broker's file of passwords: "tidegate passwd" writes
// it, as the gateway's user, it holds hashes, and it is read again when it changes.
func TestSecretsOfThePagesAreForRootsEyes(t *testing.T) {
	found := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		table := ""
		for i, line := range strings.Split(string(text), "\n") {
			if m := tableName.FindStringSubmatch(line); m != nil {
				table = m[1]
			}
			if strings.Contains(line, `_file = "credential:`) {
				found++
			}
			m := secretPath.FindStringSubmatch(line)
			if m != nil && (table != "ingest.mqtt" || m[1] != "password_file") {
				t.Errorf("%s:%d: %s of [%s] is the file %s: take \"credential:NAME\"", page, i+1, m[1], table, m[2])
			}
		}
	}
	if found < 10 {
		t.Errorf("%d secrets of the pages are credentials, want more", found)
	}
}
