package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/tidegate/tidegate/ingest/coapin"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

// meaning is what the tables of all doors and routes say about their payloads.
type meaning struct {
	decode      string
	lane        string
	undecodable string // keep or drop
	refine      []string
}

// words are the names that a configuration gives to decoders and to what
// happens to readings.
type words struct {
	decoders    []string
	refinements map[string]int // how many tables have the name
	users       bool           // patterns may use {user}
}

func (c Config) words() words {
	decoders := slices.Sorted(maps.Keys(plainDecoders()))
	for _, t := range c.Decoder.all() {
		decoders = append(decoders, t.name)
	}
	refinements := make(map[string]int)
	for _, t := range c.Refine {
		refinements[t.Name]++
	}
	return words{decoders: decoders, refinements: refinements}
}

// validate checks the keys of a table that say what its payloads mean.
func (m meaning) validate(r refuse, key string, w words) {
	r.oneOf(key+".decode", m.decode, w.decoders...)
	r.oneOf(key+".lane", m.lane, reading.Alarm.String(), reading.Normal.String(), reading.Bulk.String())
	r.oneOf(key+".undecodable", m.undecodable, "keep", "drop")
	w.validateRefine(r, key+".refine", m.refine)
}

// vocabulary is what those names stand for. Whoever says the same name shares
// one decoder, and with it the names of metrics that it has learnt.
type vocabulary struct {
	decoders    map[string]decode.Decoder
	refinements steps
	chains      *chains
	users       bool // patterns may use {user}
}

func (c Config) vocabulary() (vocabulary, error) {
	v := vocabulary{refinements: c.refinements(), chains: &chains{}}
	var problem error
	v.decoders = c.Decoder.build(func(t named, err error) {
		problem = cmp.Or(problem, fmt.Errorf("decoder.%s %q: %w", t.kind, t.name, err))
	})
	return v, problem
}

// target returns what payloads mean that come from one place.
func (v vocabulary) target(m meaning, device, metric string) route.Target {
	lane, _ := reading.ParseLane(m.lane) // validated
	return route.Target{
		Device: device, Metric: metric, Lane: lane,
		Decoder: v.decoders[m.decode], KeepOpaque: m.undecodable == "keep", Refine: v.chain(m.refine),
	}
}

// table compiles the routes of a door, behind which come those of dialects.
func (v vocabulary) table(routes []Route, dialects ...string) (*route.Table, error) {
	var rules []route.Rule
	for _, r := range routes {
		t := v.target(r.meaning(), r.Device, r.Metric)
		rule := route.Rule{
			Topic: r.Topic, Device: r.Device, Metric: r.Metric, Lane: t.Lane,
			Decoder: t.Decoder, KeepOpaque: t.KeepOpaque, Refine: t.Refine,
			Users: v.users,
		}
		if len(r.TimeKeys) > 0 || r.TimeUnit != "" {
			unit, _ := decode.ParseTimeUnit(r.TimeUnit) // validated
			rule.Decoder = decode.NewJSON(decode.JSONConfig{TimeKeys: r.TimeKeys, TimeUnit: unit})
		}
		rules = append(rules, rule)
	}
	return route.NewTable(append(rules, v.dialects(dialects)...), v.decoders["json"])
}

func (t Route) meaning() meaning {
	return meaning{decode: t.Decode, lane: t.Lane, undecodable: t.Undecodable, refine: t.Refine}
}

// contentTypes returns the decoders of content types that name a format: at
// these, a device says itself what it sends. What is not here is decoded as its
// route says.
func (v vocabulary) contentTypes() map[string]decode.Decoder {
	return map[string]decode.Decoder{
		"application/cbor":         v.decoders["cbor"],
		"application/octet-stream": v.decoders["raw"],
		"application/senml+cbor":   v.decoders["senml-cbor"],
		"application/senml+json":   v.decoders["senml-json"],
		"application/sensml+cbor":  v.decoders["senml-cbor"],
		"application/sensml+json":  v.decoders["senml-json"],
		"text/csv":                 v.decoders["csv"],
	}
}

// lineProtocol returns the decoders of InfluxDB's paths, by the precision that a
// request names.
func lineProtocol() map[string]decode.Decoder {
	decoders := map[string]decode.Decoder{}
	for name, unit := range map[string]decode.TimeUnit{
		"": decode.Nanoseconds, "ns": decode.Nanoseconds, "n": decode.Nanoseconds, "us": decode.Microseconds,
		"u": decode.Microseconds, "ms": decode.Milliseconds, "s": decode.Seconds,
	} {
		decoders[name] = plain(decode.NewLineProtocol(decode.LineProtocolConfig{TimeUnit: unit}))
	}
	return decoders
}

// contentFormats is contentTypes in the numbers of CoAP.
func (v vocabulary) contentFormats() map[coapin.Format]decode.Decoder {
	return map[coapin.Format]decode.Decoder{
		coapin.Octets: v.decoders["raw"], coapin.CBOR: v.decoders["cbor"],
		coapin.SenMLJSON: v.decoders["senml-json"], coapin.SenMLCBOR: v.decoders["senml-cbor"],
	}
}
