package sparkplug

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
)

// compressed is the UUID of a message whose body is another message, compressed.
const compressed = "SPBV1.0_COMPRESSED"

// MaxInflation is how many times its size a compressed body may grow to, beyond
// MinInflation bytes: more than messages do, less than a bomb.
const (
	MaxInflation = 64
	MinInflation = 4 << 10
)

// Inflate returns the message within p if p is a compressed one, and p itself
// otherwise. A compressed message names the algorithm in a metric of that name,
// GZIP or DEFLATE, which is a zlib stream in Eclipse Tahu and its relatives.
func (p Payload) Inflate() (Payload, error) {
	if string(p.UUID) != compressed {
		return p, nil
	}
	algorithm, err := p.algorithm()
	if err != nil {
		return p, err
	}
	var r io.Reader
	switch algorithm {
	case "GZIP":
		r, err = gzip.NewReader(bytes.NewReader(p.Body))
	case "DEFLATE", "":
		r, err = zlib.NewReader(bytes.NewReader(p.Body))
	default:
		return p, fmt.Errorf("%w: compressed with %.20q — hint: GZIP and DEFLATE are known", ErrMalformed, algorithm)
	}
	most := int64(MinInflation + MaxInflation*len(p.Body))
	var inner []byte
	if err == nil {
		inner, err = io.ReadAll(io.LimitReader(r, most+1))
	}
	if err != nil {
		return p, fmt.Errorf("%w: body of %d bytes does not inflate: %v — hint: the payload may have been cut short", ErrMalformed, len(p.Body), err)
	}
	if int64(len(inner)) > most {
		return p, fmt.Errorf("%w: body of %d bytes inflates to more than %d — hint: send it without compression", ErrMalformed, len(p.Body), most)
	}
	within, err := Parse(inner)
	if err == nil && string(within.UUID) == compressed {
		err = fmt.Errorf("%w: compressed twice — hint: once is enough", ErrMalformed)
	}
	return within, err
}

func (p Payload) algorithm() (string, error) {
	var m Metric
	for {
		ok, err := p.Next(&m)
		if !ok {
			return "", err
		}
		if string(m.Name) == "algorithm" && m.Value.form == stringForm {
			return string(m.Value.block), nil
		}
	}
}
