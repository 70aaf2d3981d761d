package decode

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"unicode/utf8"
)

// JSONTemplateConfig says where in a JSON text the values are.
type JSONTemplateConfig struct {
	JSONConfig
	// Fields are the places of values. Empty means that all fields are readings,
	// as JSON describes.
	Fields []JSONField `toml:"fields"`
	// DevicePath and TimePath are for the fields that have none of their own.
	DevicePath string `toml:"device_path"`
	TimePath   string `toml:"time_path"`
	// DecimalComma, Units, Missing, True and False are for strings that must be
	// numbers or truth values because of the Type of their field; see TextConfig.
	DecimalComma bool     `toml:"decimal_comma"`
	Units        bool     `toml:"units"`
	Missing      []string `toml:"missing"`
	True         []string `toml:"true"`
	False        []string `toml:"false"`
	// TimeFormat and TimeZone say how times are written that are texts; see
	// TextConfig.
	TimeFormat string `toml:"time_format"`
	TimeZone   string `toml:"time_zone"`
}

// JSONField is a place in a JSON text whose value is a reading.
type JSONField struct {
	// Path leads to the value: payload.sensors[0].t, or data/temp if names have
	// dots in them. A step can be a name, an index ([0] or plain 0), a name in
	// brackets (["odd name"]), * for every member or element, and {device} and
	// {metric} for every member, of which the name tells what the step says.
	//
	// A value that is an object gives a reading for each of its fields, as JSON
	// describes them; one that is an array gives its elements as samples. What
	// is not there, or null, gives none.
	Path string `toml:"path"`
	// Metric names the reading. Empty means what {metric} has found, and
	// otherwise the last name of the path; the fields of an object keep their
	// own names, with Metric and a dot before them if it is set.
	Metric string `toml:"metric"`
	// Unit is the unit, as in reading.Reading.
	Unit string `toml:"unit"`
	// Type is "" for what is there, "number" for a number that may be in a
	// string, "text" for a text that may be a number, "bool", or "hex" and
	// "base64" for a string that holds bytes in that way.
	Type string `toml:"type"`
	// Decode names the decoder of what the string holds: bytes, or a text if
	// Type is "text" or "". An empty string holds nothing. What it reads is of
	// this value's device, time and unit, as far as it does not say otherwise
	// itself, and its names follow Metric and a dot if that, {metric} or
	// MetricPath names the value.
	Decode string `toml:"decode"`
	// DevicePath, TimePath, MetricPath and UnitPath lead to what else is to be
	// known about the value. As far as they are the same as Path, a * in them
	// means the same element: readings[*].value with readings[*].ts. Behind
	// that, they must lead to one place.
	DevicePath string `toml:"device_path"`
	TimePath   string `toml:"time_path"`
	MetricPath string `toml:"metric_path"`
	UnitPath   string `toml:"unit_path"`
}

// Of a field's places beside its value, in the order of their use.
const (
	deviceAside = iota
	timeAside
	metricAside
	unitAside
	asides
)

// template is a JSONTemplateConfig that is ready for use. It never changes,
// except for its scratch.
type template struct {
	fields  []templateField
	text    *textReader
	scratch sync.Pool // of *indexer
}

type templateField struct {
	path   path
	label  string // the path as it was written
	metric string
	last   string // the last name of the path
	unit   string
	kind   kind
	inner  Decoder // nil if Decode is empty
	aside  [asides]aside
}

// aside leads to something that is to be known about a value: from the place
// where its path leaves the value's after so many steps.
type aside struct {
	given bool
	fork  int
	rest  path
}

const maxJSONFields = 256

// NewJSONTemplate returns a decoder that takes its values from the fields of
// cfg, or, if there are none, from everywhere. Inner are the decoders that fields
// may name, which must not lead back to this one. It is safe for concurrent use.
func NewJSONTemplate(cfg JSONTemplateConfig, inner map[string]Decoder) (*JSON, error) {
	text, err := newTextReader(TextConfig{
		DecimalComma: cfg.DecimalComma, Units: cfg.Units, Missing: cfg.Missing, True: cfg.True, False: cfg.False,
		TimeUnit: cfg.TimeUnit, TimeFormat: cfg.TimeFormat, TimeZone: cfg.TimeZone, MaxReadings: cfg.MaxReadings,
	})
	if err != nil {
		return nil, err
	}
	for key, names := range map[string][]string{"time_keys": cfg.TimeKeys, "device_keys": cfg.DeviceKeys} {
		if err := checkNames(key, names); err != nil {
			return nil, err
		}
	}
	j := NewJSON(cfg.JSONConfig)
	if cfg.TimeFormat != "" || cfg.TimeZone != "" {
		j.times = &text.times
	}
	if len(cfg.Fields) == 0 {
		if err := checkWithoutFields(cfg); err != nil {
			return nil, err
		}
		return j, nil
	}
	if len(cfg.Fields) > maxJSONFields {
		return nil, fmt.Errorf("fields: %d of them — hint: at most %d", len(cfg.Fields), maxJSONFields)
	}
	if j.devices == nil {
		j.devices = newNames(nil, nil)
	}
	t := &template{text: text}
	for i, f := range cfg.Fields {
		if f.DevicePath == "" {
			f.DevicePath = cfg.DevicePath
		}
		if f.TimePath == "" {
			f.TimePath = cfg.TimePath
		}
		made, err := compileField(f)
		if err == nil {
			err = made.within(f, inner)
		}
		if err != nil {
			return nil, fmt.Errorf("fields.%d: %w", i, err)
		}
		t.fields = append(t.fields, made)
	}
	j.template = t
	return j, nil
}

// checkNames refuses lists of names under a key that hold an empty one.
func checkNames(key string, names []string) error {
	if slices.Contains(names, "") {
		return fmt.Errorf(`%s holds an empty name — hint: write names of fields, for example ["ts"]`, key)
	}
	return nil
}

// checkWithoutFields refuses what only fields use.
func checkWithoutFields(cfg JSONTemplateConfig) error {
	if cfg.DevicePath != "" || cfg.TimePath != "" {
		return fmt.Errorf("device_path and time_path are for fields, and there are none — hint: device_keys and time_keys name members wherever they are")
	}
	if cfg.DecimalComma || cfg.Units || cfg.Missing != nil || cfg.True != nil || cfg.False != nil {
		return fmt.Errorf("decimal_comma, units, missing, true and false are for fields with a type, and there are none — hint: number_strings takes strings that are numbers")
	}
	return nil
}

// fieldTypes are what a JSONField's Type may be.
var fieldTypes = [...]string{"", "number", "text", "bool", "hex", "base64"}

// within finds the decoder of what the field's strings hold.
func (made *templateField) within(f JSONField, inner map[string]Decoder) error {
	if f.Decode == "" {
		return nil
	}
	if made.kind == numberKind || made.kind == boolKind {
		return pathError(f.Path, fmt.Sprintf("has both decode and the type %q", f.Type), "what is decoded is a text, hex or base64")
	}
	if made.inner = inner[f.Decode]; made.inner == nil {
		return pathError(f.Path, fmt.Sprintf("is decoded by %q, which is not known", f.Decode),
			"name a kind, or a decoder that names no others for its own fields")
	}
	return nil
}

func compileField(f JSONField) (made templateField, err error) {
	made = templateField{label: f.Path, metric: f.Metric, unit: f.Unit}
	if f.Path == "" {
		return made, errors.New("no path — hint: \"$\" is the whole payload")
	}
	if made.path, err = parsePath(f.Path); err != nil {
		return made, err
	}
	if len(f.Metric) > maxName || !utf8.ValidString(f.Metric) {
		return made, pathError(f.Path, "has a metric that is too long or not UTF-8", fmt.Sprintf("names may have %d bytes", maxName))
	}
	k := slices.Index(fieldTypes[:], f.Type)
	if k < 0 {
		return made, pathError(f.Path, fmt.Sprintf("has the type %q", f.Type), "number, text, bool, hex, base64, or none for whatever is there")
	}
	made.kind = [...]kind{anyKind, numberKind, textKind, boolKind, hexKind, base64Kind}[k]
	for _, s := range slices.Backward(made.path) {
		if s.kind == toName && s.index < 0 {
			made.last = s.name
			break
		}
	}
	for i, text := range [asides]string{f.DevicePath, f.TimePath, f.MetricPath, f.UnitPath} {
		if text == "" {
			continue
		}
		to, err := parsePath(text)
		if err != nil {
			return made, err
		}
		fork := to.fork(made.path)
		made.aside[i] = aside{given: true, fork: fork, rest: to[fork:]}
		if !to[fork:].single() {
			return made, pathError(text, "may lead to several places for one value of "+f.Path, "up to its last * it must be the same as the path of the value")
		}
	}
	return made, nil
}
