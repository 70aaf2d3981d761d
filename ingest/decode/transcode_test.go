package decode

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
)

// errNoTwin means that a JSON text has no CBOR that says exactly the same.
var errNoTwin = errors.New("no twin in CBOR")

// cborTwin writes a JSON text as CBOR: the same names in the same order, numbers
// as integers where they are written as such, and as floats of 64 bits
// otherwise. rename may write the names of maps in another way, and with them
// their values.
func cborTwin(text []byte, rename func(key string) ([]byte, func(json.Token) []byte)) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var out bytes.Buffer
	if err := twinValue(d, &out, rename, nil); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errNoTwin
	}
	return out.Bytes(), nil
}

func twinValue(d *json.Decoder, out *bytes.Buffer, rename func(string) ([]byte, func(json.Token) []byte), value func(json.Token) []byte) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	if value != nil {
		if written := value(token); written != nil {
			out.Write(written)
			return nil
		}
	}
	switch v := token.(type) {
	case json.Delim:
		return twinInner(d, out, rename, v)
	case string:
		out.Write(cborString(v))
	case json.Number:
		return twinNumber(out, string(v))
	case bool:
		out.WriteByte(map[bool]byte{false: 0xf4, true: 0xf5}[v])
	case nil:
		out.WriteByte(0xf6)
	}
	return nil
}

// twinInner writes arrays and maps, of indefinite length.
func twinInner(d *json.Decoder, out *bytes.Buffer, rename func(string) ([]byte, func(json.Token) []byte), open json.Delim) error {
	out.WriteByte(map[json.Delim]byte{'[': 0x9f, '{': 0xbf}[open])
	for d.More() {
		var value func(json.Token) []byte
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return err
			}
			written := cborString(key.(string))
			if rename != nil {
				if other, v := rename(key.(string)); other != nil {
					written, value = other, v
				}
			}
			out.Write(written)
		}
		if err := twinValue(d, out, rename, value); err != nil {
			return err
		}
	}
	out.WriteByte(0xff)
	_, err := d.Token()
	return err
}

func twinNumber(out *bytes.Buffer, text string) error {
	if !strings.ContainsAny(text, ".eE") && text != "-0" {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			if n < 0 {
				out.Write(cborHeadOf(cborNegative, uint64(-1-n)))
			} else {
				out.Write(cborHeadOf(cborUint, uint64(n)))
			}
			return nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return errNoTwin
	}
	out.WriteByte(0xfb)
	out.Write(binary.BigEndian.AppendUint64(nil, math.Float64bits(f)))
	return nil
}

func cborString(s string) []byte { return append(cborHeadOf(cborText, uint64(len(s))), s...) }

func cborHeadOf(major byte, arg uint64) []byte {
	if arg < 24 {
		return []byte{major<<5 | byte(arg)}
	}
	return binary.BigEndian.AppendUint64([]byte{major<<5 | 27}, arg)
}

// senmlLabels writes the labels of SenML as integers, and data as bytes.
func senmlLabels(key string) ([]byte, func(json.Token) []byte) {
	number, ok := map[string]int{
		"bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6,
		"n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "s": 5, "t": 6, "ut": 7, "vd": 8,
	}[key]
	switch {
	case !ok:
		return nil, nil
	case number < 0:
		return cborHeadOf(cborNegative, uint64(-1-number)), nil
	case key != "vd":
		return cborHeadOf(cborUint, uint64(number)), nil
	}
	return cborHeadOf(cborUint, uint64(number)), func(token json.Token) []byte {
		text, ok := token.(string)
		if !ok {
			return nil
		}
		data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
		if err != nil {
			return nil
		}
		return append(cborHeadOf(cborBytes, uint64(len(data))), data...)
	}
}
