package daemon

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/dialect"
)

// Decoders is [decoder]: decoders with options, under names of their own, for
// the key decode of routes and doors. A kind whose defaults will do is called by
// the kind's name and needs no table. The options are those of the decoders.
type Decoders struct {
	JSON         []JSONDecoder         `toml:"json"`
	CSV          []CSVDecoder          `toml:"csv"`
	KeyValue     []KeyValueDecoder     `toml:"keyvalue"`
	Regex        []RegexDecoder        `toml:"regex"`
	NMEA         []NMEADecoder         `toml:"nmea"`
	LineProtocol []LineProtocolDecoder `toml:"lineprotocol"`
	Number       []NumberDecoder       `toml:"number"`
	SenMLJSON    []SenMLJSONDecoder    `toml:"senml-json"`
	SenMLCBOR    []SenMLCBORDecoder    `toml:"senml-cbor"`
	CBOR         []CBORDecoder         `toml:"cbor"`
	LPP          []LPPDecoder          `toml:"lpp"`
	Binary       []BinaryDecoder       `toml:"binary"`
}

// JSONDecoder is [[decoder.json]].
type JSONDecoder struct {
	Name string `toml:"name"`
	decode.JSONTemplateConfig
}

// CSVDecoder is [[decoder.csv]].
type CSVDecoder struct {
	Name string `toml:"name"`
	decode.CSVConfig
}

// KeyValueDecoder is [[decoder.keyvalue]].
type KeyValueDecoder struct {
	Name string `toml:"name"`
	decode.KeyValueConfig
}

// RegexDecoder is [[decoder.regex]].
type RegexDecoder struct {
	Name string `toml:"name"`
	decode.RegexConfig
}

// NMEADecoder is [[decoder.nmea]].
type NMEADecoder struct {
	Name string `toml:"name"`
	decode.NMEAConfig
}

// LineProtocolDecoder is [[decoder.lineprotocol]].
type LineProtocolDecoder struct {
	Name string `toml:"name"`
	decode.LineProtocolConfig
}

// NumberDecoder is [[decoder.number]].
type NumberDecoder struct {
	Name string `toml:"name"`
	decode.NumberConfig
}

// SenMLJSONDecoder is [[decoder.senml-json]].
type SenMLJSONDecoder struct {
	Name string `toml:"name"`
	decode.SenMLConfig
}

// SenMLCBORDecoder is [[decoder.senml-cbor]].
type SenMLCBORDecoder struct {
	Name string `toml:"name"`
	decode.SenMLConfig
}

// CBORDecoder is [[decoder.cbor]].
type CBORDecoder struct {
	Name string `toml:"name"`
	decode.CBORConfig
}

// LPPDecoder is [[decoder.lpp]].
type LPPDecoder struct {
	Name string `toml:"name"`
	decode.LPPConfig
}

// BinaryDecoder is [[decoder.binary]].
type BinaryDecoder struct {
	Name string `toml:"name"`
	decode.BinaryConfig
}

// named is one table of a decoder.
type named struct {
	kind, name string
	build      func() (decode.Decoder, error)
}

// made returns what builds a decoder of a configuration.
func made[C any, D decode.Decoder](build func(C) (D, error), cfg C) func() (decode.Decoder, error) {
	return func() (decode.Decoder, error) {
		d, err := build(cfg)
		if err != nil {
			return nil, err // and no Decoder that is a nil pointer
		}
		return d, nil
	}
}

func newCBOR(cfg decode.CBORConfig) (*decode.CBOR, error) { return decode.NewCBOR(cfg), nil }

// all returns every table, kind by kind in the order of the file.
func (d Decoders) all() []named {
	var all []named
	for _, t := range d.JSON {
		all = append(all, named{"json", t.Name, made(decode.NewJSONTemplate, t.JSONTemplateConfig)})
	}
	for _, t := range d.CSV {
		all = append(all, named{"csv", t.Name, made(decode.NewCSV, t.CSVConfig)})
	}
	for _, t := range d.KeyValue {
		all = append(all, named{"keyvalue", t.Name, made(decode.NewKeyValue, t.KeyValueConfig)})
	}
	for _, t := range d.Regex {
		all = append(all, named{"regex", t.Name, made(decode.NewRegex, t.RegexConfig)})
	}
	for _, t := range d.NMEA {
		all = append(all, named{"nmea", t.Name, made(decode.NewNMEA, t.NMEAConfig)})
	}
	for _, t := range d.LineProtocol {
		all = append(all, named{"lineprotocol", t.Name, made(decode.NewLineProtocol, t.LineProtocolConfig)})
	}
	for _, t := range d.Number {
		all = append(all, named{"number", t.Name, made(decode.NewNumber, t.NumberConfig)})
	}
	for _, t := range d.SenMLJSON {
		all = append(all, named{"senml-json", t.Name, made(decode.NewSenMLJSON, t.SenMLConfig)})
	}
	for _, t := range d.SenMLCBOR {
		all = append(all, named{"senml-cbor", t.Name, made(decode.NewSenMLCBOR, t.SenMLConfig)})
	}
	for _, t := range d.CBOR {
		all = append(all, named{"cbor", t.Name, made(newCBOR, t.CBORConfig)})
	}
	for _, t := range d.LPP {
		all = append(all, named{"lpp", t.Name, made(decode.NewLPP, t.LPPConfig)})
	}
	for _, t := range d.Binary {
		all = append(all, named{"binary", t.Name, made(decode.NewBinary, t.BinaryConfig)})
	}
	return all
}

func (d Decoders) validate(r refuse) {
	taken := plainDecoders()
	counts := map[string]int{}
	for _, t := range d.all() {
		key := fmt.Sprintf("decoder.%s[%d]", t.kind, counts[t.kind])
		counts[t.kind]++
		switch {
		case t.name == "":
			r(key+".name", `write for example "meter", and decode = "meter" where it is used`, "is missing")
		case !isName(t.name):
			r(key+".name", nameHint, "%q is no valid name", t.name)
		case taken[t.name] != nil:
			r(key+".name", "choose another name", "%q is the name of another decoder", t.name)
		}
		taken[t.name] = decode.Raw{}
		if _, err := t.build(); err != nil {
			r.because(keyOf(key, err), err)
		}
	}
}

// where matches the place that a decoder's complaint begins with: a key, an
// element of a list by its index, or a column by its number.
var where = regexp.MustCompile(`^(?:([a-z_]+)\.(\d+)|column (\d+)|([a-z_]+))\b`)

// keyOf returns the key in a table that an error is about, as far as it says.
func keyOf(table string, err error) string {
	m := where.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
		return table
	case m[1] != "":
		return fmt.Sprintf("%s.%s[%s]", table, m[1], m[2])
	case m[3] != "":
		n, _ := strconv.Atoi(m[3])
		return fmt.Sprintf("%s.columns[%d]", table, n-1)
	}
	return table + "." + m[4]
}

// plainDecoders returns the decoders that need no options, by the name of their
// kind.
func plainDecoders() map[string]decode.Decoder {
	all := map[string]decode.Decoder{
		"json": decode.NewJSON(decode.JSONConfig{}),
		"cbor": decode.NewCBOR(decode.CBORConfig{}),
		"raw":  decode.Raw{},

		"csv":          plain(decode.NewCSV(decode.CSVConfig{Header: "auto"})),
		"keyvalue":     plain(decode.NewKeyValue(decode.KeyValueConfig{})),
		"lineprotocol": plain(decode.NewLineProtocol(decode.LineProtocolConfig{})),
		"lpp":          plain(decode.NewLPP(decode.LPPConfig{})),
		"nmea":         plain(decode.NewNMEA(decode.NMEAConfig{})),
		"number":       plain(decode.NewNumber(decode.NumberConfig{})),
		"senml-cbor":   plain(decode.NewSenMLCBOR(decode.SenMLConfig{})),
		"senml-json":   plain(decode.NewSenMLJSON(decode.SenMLConfig{})),
	}
	for _, d := range dialect.Known() {
		all[d.Name] = d.New()
	}
	return all
}

// plain is a decoder with its defaults, which none of them refuses.
func plain[D decode.Decoder](d D, err error) decode.Decoder {
	if err != nil {
		panic(fmt.Sprintf("a decoder refuses its defaults: %v", err))
	}
	return d
}
