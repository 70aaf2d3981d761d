package conf

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// MaxSecretBytes bounds a secret file. A longer file is a mistake, such as the
// path of a log.
const MaxSecretBytes = 64 << 10

// Secret is a text that never shows itself: formatted, logged or marshalled it
// is "***". It comes from a file of its own, never from the configuration, so
// a configuration can be shown to anybody. The zero value is "no secret".
type Secret struct{ text string }

// ReadSecret reads a secret from a file and takes off the line ends and the byte
// order mark that editors add: nobody sees those, and no server takes them. A
// systemd credential is such a file, too.
func ReadSecret(path string) (Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return Secret{}, fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxSecretBytes+1))
	if err != nil {
		return Secret{}, fmt.Errorf("read secret: %w", err)
	}
	text = bytes.TrimRight(bytes.TrimPrefix(text, byteOrderMark()), "\r\n")
	switch {
	case len(text) == 0:
		return Secret{}, fmt.Errorf("read secret: %s is empty", path)
	case len(text) > MaxSecretBytes:
		return Secret{}, fmt.Errorf("read secret: %s is larger than %v", path, Size(MaxSecretBytes))
	case bytes.ContainsAny(text, "\r\n\x00"):
		return Secret{}, fmt.Errorf("read secret: %s has more than one line", path)
	}
	return Secret{string(text)}, nil
}

// ReadSecretIf is ReadSecret for a key that may be left empty: then there is no secret.
func ReadSecretIf(path string) (Secret, error) {
	if path == "" {
		return Secret{}, nil
	}
	return ReadSecret(path)
}

// Reveal returns the text itself, for the one place that sends it.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.text == "" }

// String returns "***", or "" for the zero value.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return "***"
}

// Format prints String whatever the verb, so that %#v and %x tell nothing
// either.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// MarshalText returns String: JSON, TOML and slog show no secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
