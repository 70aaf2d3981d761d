package conf

import (
	"encoding/hex"
	"strings"
)

// Bytes are bytes that a device is sent, or sends. In text they are characters,
// in which \r, \n, \t, \0, \\ and \xHH stand for bytes that have none, or, after
// "hex:", hexadecimal digits: "hex:01 03 00 6B".
type Bytes []byte

const hexPrefix = "hex:"

// String returns a text that parses to b.
func (b Bytes) String() string {
	var text strings.Builder
	for _, c := range []byte(b) {
		switch {
		case c == '\r':
			text.WriteString(`\r`)
		case c == '\n':
			text.WriteString(`\n`)
		case c == '\\':
			text.WriteString(`\\`)
		case c < ' ' || c > '~':
			return hexPrefix + spaced(string(b))
		default:
			text.WriteByte(c)
		}
	}
	if strings.HasPrefix(string(b), hexPrefix) {
		return hexPrefix + spaced(string(b))
	}
	return text.String()
}

func spaced(b string) string {
	var text strings.Builder
	for i := range len(b) {
		if i > 0 {
			text.WriteByte(' ')
		}
		text.WriteString(strings.ToUpper(hex.EncodeToString([]byte{b[i]})))
	}
	return text.String()
}

// MarshalText returns String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText parses text. Its errors are of type *ValueError.
func (b *Bytes) UnmarshalText(text []byte) error {
	if digits, ok := strings.CutPrefix(string(text), hexPrefix); ok {
		raw, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		if err != nil {
			return valueError(`write two digits a byte, for example "hex:01 03 00 6B"`, "%s is not hexadecimal", quote(string(text)))
		}
		*b = bytesOf(raw)
		return nil
	}
	raw, err := unescape(string(text))
	if err != nil {
		return err
	}
	*b = bytesOf([]byte(raw))
	return nil
}

// bytesOf makes no difference between none and nothing.
func bytesOf(raw []byte) Bytes {
	if len(raw) == 0 {
		return nil
	}
	return raw
}

func unescape(text string) (string, error) {
	var raw strings.Builder
	for {
		plain, rest, found := strings.Cut(text, `\`)
		raw.WriteString(plain)
		if !found {
			return raw.String(), nil
		}
		if rest == "" {
			return "", badEscape(`\`)
		}
		length := 1
		switch rest[0] {
		case 'r':
			raw.WriteByte('\r')
		case 'n':
			raw.WriteByte('\n')
		case 't':
			raw.WriteByte('\t')
		case '0':
			raw.WriteByte(0)
		case '\\':
			raw.WriteByte('\\')
		case 'x':
			length = min(3, len(rest))
			c, err := hex.DecodeString(rest[1:length])
			if err != nil || len(c) != 1 {
				return "", badEscape(`\` + rest[:length])
			}
			raw.WriteByte(c[0])
		default:
			return "", badEscape(`\` + rest[:1])
		}
		text = rest[length:]
	}
}

func badEscape(what string) error {
	return valueError(`write \r, \n, \t, \0, \\ or \xHH in single quotes, or "hex:0D 0A"`, "%s stands for no byte", quote(what))
}
