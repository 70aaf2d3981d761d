package daemon

import (
	"reflect"
	"slices"
)

// refinements warns of [[refine]] tables that nothing uses.
func (k *checklist) refinements(c Config) {
	used := namesOf(reflect.ValueOf(c.Ingest), nil)
	var known []string
	for _, t := range c.Refine {
		if slices.Contains(known, t.Name) {
			continue
		}
		known = append(known, t.Name)
		if !slices.Contains(used, t.Name) {
			k.warn(`write refine = ["`+t.Name+`"] where the readings come in, or remove the table`, "no route and no door names the [[refine]] %q", t.Name)
		}
	}
}

// namesOf appends what all keys refine within a value say, whatever doors there
// are.
func namesOf(v reflect.Value, names []string) []string {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			names = namesOf(v.Index(i), names)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Field(i)
			if said, ok := field.Interface().([]string); ok && v.Type().Field(i).Tag.Get("toml") == "refine" {
				names = append(names, said...)
				continue
			}
			names = namesOf(field, names)
		}
	}
	return names
}
