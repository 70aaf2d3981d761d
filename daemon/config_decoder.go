package daemon

import (
	"fmt"
	"slices"

	"github.com/tidegate/tidegate/ingest/decode"
)

// Decoders is [decoder]: decoders with options, under names of their own, for
// the key decode of routes and doors. A kind whose defaults will do is called by
// the kind's name and needs no table.
type Decoders struct {
	JSON []JSONDecoder `toml:"json"`
}

// JSONDecoder is [[decoder.json]].
type JSONDecoder struct {
	Name string `toml:"name"`
	// TimeKeys and TimeUnit are as in a Route.
	TimeKeys []string `toml:"time_keys"`
	TimeUnit string   `toml:"time_unit"`
}

// named is one table of a decoder.
type named struct {
	kind, name string
	// check reports what is wrong with the options, under the table's key.
	check func(r refuse, key string)
	build func() (decode.Decoder, error)
}

// all returns every table, kind by kind in the order of the file.
func (d Decoders) all() []named {
	var all []named
	for _, t := range d.JSON {
		all = append(all, named{"json", t.Name, t.validate, t.build})
	}
	return all
}

func (t JSONDecoder) validate(r refuse, key string) { validateTimes(r, key, t.TimeKeys, t.TimeUnit) }

func (t JSONDecoder) build() (decode.Decoder, error) {
	unit, _ := decode.ParseTimeUnit(t.TimeUnit) // validated
	return decode.NewJSON(decode.JSONConfig{TimeKeys: t.TimeKeys, TimeUnit: unit}), nil
}

// validateTimes checks the two keys that say how a payload tells the time.
func validateTimes(r refuse, key string, timeKeys []string, timeUnit string) {
	if _, ok := decode.ParseTimeUnit(timeUnit); !ok {
		r.oneOf(key+".time_unit", timeUnit, "s", "ms", "us", "ns")
	}
	if slices.Contains(timeKeys, "") {
		r(key+".time_keys", `write names of JSON fields, for example ["ts"]`, "holds an empty name")
	}
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
		t.check(r, key)
	}
}

// plainDecoders returns the decoders that need no options, by the name of their
// kind.
func plainDecoders() map[string]decode.Decoder {
	return map[string]decode.Decoder{
		"json": decode.NewJSON(decode.JSONConfig{}),
		"raw":  decode.Raw{},
	}
}
