package conf

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Show returns the text of a configuration in which only what differs from the
// defaults stands; both are structs of the same type, tagged as for Decode. Every
// text goes through change, with its key, before it is written.
func Show(config, defaults any, change func(key, text string) string) []byte {
	s := shower{change: change}
	s.table("", reflect.ValueOf(config), reflect.ValueOf(defaults))
	return s.out
}

type shower struct {
	out    []byte
	change func(key, text string) string
}

// table writes the keys of a table, and then the tables in it, as TOML wants them.
func (s *shower) table(path string, v, usual reflect.Value) {
	fields := fieldsOf(v.Type())
	for _, f := range fields {
		value, key := v.FieldByIndex(f.Index), f.Tag.Get("toml")
		if isTable(f.Type) || reflect.DeepEqual(value.Interface(), usual.FieldByIndex(f.Index).Interface()) {
			continue
		}
		if text, ok := s.value(key, value); ok {
			s.out = append(s.out, key+" = "+text+"\n"...)
		}
	}
	for _, f := range fields {
		value, key := v.FieldByIndex(f.Index), join(path, f.Tag.Get("toml"))
		switch {
		case !isTable(f.Type) || reflect.DeepEqual(value.Interface(), usual.FieldByIndex(f.Index).Interface()):
		case f.Type.Kind() == reflect.Slice:
			for i := range value.Len() {
				s.out = append(s.out, "\n[["+key+"]]\n"...)
				s.table(key, value.Index(i), emptyTable(f.Type.Elem()))
			}
		case f.Type.Kind() == reflect.Pointer:
			if !value.IsNil() {
				s.out = append(s.out, "\n["+key+"]\n"...)
				s.table(key, value.Elem(), reflect.Zero(f.Type.Elem())) // Decode gives it no defaults
			}
		default:
			s.out = append(s.out, "\n["+key+"]\n"...)
			s.table(key, value, usual.FieldByIndex(f.Index))
		}
	}
}

// isTable says whether values of the type are tables, or lists of them.
func isTable(t reflect.Type) bool {
	if t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// emptyTable is what an empty table of a list would be.
func emptyTable(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(interface{ SetDefaults() }); ok {
		d.SetDefaults()
	}
	return v.Elem()
}

// value writes what is no table; false means that it says nothing.
func (s *shower) value(key string, v reflect.Value) (string, bool) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "", false
		}
		v = v.Elem()
	}
	leaf, ok := v.Interface().(encoding.TextMarshaler)
	switch {
	case ok:
		text, err := leaf.MarshalText()
		return s.text(key, string(text)), err == nil
	case v.Kind() == reflect.String:
		return s.text(key, v.String()), true
	case v.Kind() == reflect.Slice:
		all := make([]string, v.Len())
		for i := range all {
			all[i], _ = s.value(key, v.Index(i))
		}
		return "[" + strings.Join(all, ", ") + "]", true
	case v.Kind() == reflect.Float64:
		text := strconv.FormatFloat(v.Float(), 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		return text, true
	}
	return fmt.Sprint(v.Interface()), true
}

// text writes a basic string of TOML.
func (s *shower) text(key, text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s.change(key, text) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
