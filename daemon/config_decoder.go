package daemon

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
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
	key        string       // of the table
	options    reflect.Type // the keys besides name
	nests      bool         // it names decoders of what its fields hold
	build      func(inner map[string]decode.Decoder) (decode.Decoder, error)
}

// tables returns the tables of a kind; each tells its name and its options.
func tables[T, C any, D decode.Decoder](kind string, list []T, of func(T) (string, C), build func(C) (D, error)) []named {
	var all []named
	for i, t := range list {
		name, cfg := of(t)
		all = append(all, named{kind, name, tableKey(kind, i), reflect.TypeFor[C](), false, func(map[string]decode.Decoder) (decode.Decoder, error) {
			return made(build(cfg))
		}})
	}
	return all
}

func tableKey(kind string, i int) string { return fmt.Sprintf("decoder.%s[%d]", kind, i) }

// made is a decoder, or no Decoder at all, which one that is a nil pointer is not.
func made[D decode.Decoder](d D, err error) (decode.Decoder, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}

// templates are tables of JSON, whose fields may name other decoders.
func templates(list []JSONDecoder) []named {
	var all []named
	for i, t := range list {
		nests := slices.ContainsFunc(t.Fields, func(f decode.JSONField) bool { return f.Decode != "" })
		all = append(all, named{"json", t.Name, tableKey("json", i), reflect.TypeFor[decode.JSONTemplateConfig](), nests, func(inner map[string]decode.Decoder) (decode.Decoder, error) {
			return made(decode.NewJSONTemplate(t.JSONTemplateConfig, inner))
		}})
	}
	return all
}

// all returns every table, kind by kind in the order of the file.
func (d Decoders) all() []named {
	return slices.Concat(
		templates(d.JSON),
		tables("csv", d.CSV, func(t CSVDecoder) (string, decode.CSVConfig) { return t.Name, t.CSVConfig }, decode.NewCSV),
		tables("keyvalue", d.KeyValue, func(t KeyValueDecoder) (string, decode.KeyValueConfig) { return t.Name, t.KeyValueConfig }, decode.NewKeyValue),
		tables("regex", d.Regex, func(t RegexDecoder) (string, decode.RegexConfig) { return t.Name, t.RegexConfig }, decode.NewRegex),
		tables("nmea", d.NMEA, func(t NMEADecoder) (string, decode.NMEAConfig) { return t.Name, t.NMEAConfig }, decode.NewNMEA),
		tables("lineprotocol", d.LineProtocol, func(t LineProtocolDecoder) (string, decode.LineProtocolConfig) { return t.Name, t.LineProtocolConfig }, decode.NewLineProtocol),
		tables("number", d.Number, func(t NumberDecoder) (string, decode.NumberConfig) { return t.Name, t.NumberConfig }, decode.NewNumber),
		tables("senml-json", d.SenMLJSON, func(t SenMLJSONDecoder) (string, decode.SenMLConfig) { return t.Name, t.SenMLConfig }, decode.NewSenMLJSON),
		tables("senml-cbor", d.SenMLCBOR, func(t SenMLCBORDecoder) (string, decode.SenMLConfig) { return t.Name, t.SenMLConfig }, decode.NewSenMLCBOR),
		tables("cbor", d.CBOR, func(t CBORDecoder) (string, decode.CBORConfig) { return t.Name, t.CBORConfig }, decode.NewCBOR),
		tables("lpp", d.LPP, func(t LPPDecoder) (string, decode.LPPConfig) { return t.Name, t.LPPConfig }, decode.NewLPP),
		tables("binary", d.Binary, func(t BinaryDecoder) (string, decode.BinaryConfig) { return t.Name, t.BinaryConfig }, decode.NewBinary),
	)
}

// build returns all decoders by their names, those of kinds among them. What
// cannot be built is told to failed. Those that name others come last, and cannot
// name one another, so that none leads back to itself.
func (d Decoders) build(failed func(named, error)) map[string]decode.Decoder {
	built, all := plainDecoders(), d.all()
	for _, nests := range []bool{false, true} {
		inner := maps.Clone(built)
		for _, t := range all {
			if t.nests != nests {
				continue
			}
			made, err := t.build(inner)
			if err != nil {
				failed(t, err)
				made = decode.Raw{} // there is such a name
			}
			built[t.name] = made
		}
	}
	return built
}

func (d Decoders) validate(r refuse) {
	taken := plainDecoders()
	for _, t := range d.all() {
		key := t.key
		switch {
		case t.name == "":
			r(key+".name", `write for example "meter", and decode = "meter" where it is used`, "is missing")
		case !isName(t.name):
			r(key+".name", nameHint, "%q is no valid name", t.name)
		case taken[t.name] != nil:
			r(key+".name", "choose another name", "%q is the name of another decoder", t.name)
		}
		taken[t.name] = decode.Raw{}
	}
	d.build(func(t named, err error) { r.because(t.keyOf(err), err) })
}

// where matches the place that a decoder's complaint begins with: a key, an
// element of a list by its index, or a column by its number.
var where = regexp.MustCompile(`^(?:([a-z_]+)\.(\d+)|column (\d+)|([a-z_]+))\b`)

// keyOf returns the key in a table that an error is about, as far as it says. A
// complaint may also begin with another word, which is no key.
func (t named) keyOf(err error) string {
	table := t.key
	m := where.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
	case m[1] != "" && hasKey(t.options, m[1]):
		return fmt.Sprintf("%s.%s[%s]", table, m[1], m[2])
	case m[3] != "" && hasKey(t.options, "columns"):
		n, _ := strconv.Atoi(m[3])
		return fmt.Sprintf("%s.columns[%d]", table, n-1)
	case m[4] != "" && hasKey(t.options, m[4]):
		return table + "." + m[4]
	}
	return table
}

// hasKey says whether a table of options has a key.
func hasKey(options reflect.Type, key string) bool {
	for i := range options.NumField() {
		f := options.Field(i)
		if f.Anonymous && hasKey(f.Type, key) || f.Tag.Get("toml") == key {
			return true
		}
	}
	return false
}

// plainDecoders returns the decoders that need no options, by the name of their
// kind.
func plainDecoders() map[string]decode.Decoder {
	all := map[string]decode.Decoder{
		"json": decode.NewJSON(decode.JSONConfig{}),
		"cbor": plain(decode.NewCBOR(decode.CBORConfig{})),
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
