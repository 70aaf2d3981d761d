package decode

import "github.com/tidegate/tidegate/reading"

// rawMetric names payloads that are kept whole.
const rawMetric = "raw"

// Raw keeps every payload whole, as one opaque reading named Frame.Metric, or
// "raw" when that is empty. It refuses nothing.
type Raw struct{}

// Decode implements Decoder.
func (Raw) Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	if f.Metric == "" {
		return Opaque(dst, f), nil
	}
	return append(dst, opaque(f, f.Metric)), nil
}

// Opaque appends the payload of f as one opaque reading named "raw". It is for
// payloads that a decoder refused: custody is taken of the bytes, and somebody
// who knows them better can read them later.
func Opaque(dst []reading.Reading, f Frame) []reading.Reading {
	return append(dst, opaque(f, rawMetric))
}

func opaque(f Frame, metric string) reading.Reading {
	return reading.Reading{
		Device: f.Device,
		Metric: metric,
		Value:  reading.Bytes(string(f.Payload)),
	}
}
