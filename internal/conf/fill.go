package conf

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// filler copies a tree of plain values into tagged structs. We do this
// ourselves because the TOML library stops at the first value of a wrong type
// and takes keys in any letter case.
type filler struct{ doc *Document }

func fill(d *Document, tree map[string]any, into any) {
	filler{d}.table("", reflect.ValueOf(into).Elem(), tree)
}

func (f filler) table(path string, dst reflect.Value, src map[string]any) {
	fields := fieldsOf(dst.Type())
	known := keys(fields)
	for _, key := range slices.Sorted(maps.Keys(src)) {
		if i := slices.Index(known, key); i >= 0 {
			f.value(join(path, key), dst.FieldByIndex(fields[i].Index), src[key])
			continue
		}
		f.doc.refuseKey(join(path, key), Suggest(key, known), "unknown key")
		// Nobody wants to hear that the key that was meant is missing.
		if meant := closest(key, known); meant != "" && src[meant] == nil {
			f.doc.refused[join(path, meant)] = true
		}
	}
}

func (f filler) value(path string, dst reflect.Value, src any) {
	if dst.Kind() == reflect.Pointer {
		f.optional(path, dst, src)
		return
	}
	if leaf, ok := dst.Addr().Interface().(encoding.TextUnmarshaler); ok {
		f.leaf(path, leaf, src)
		return
	}
	switch dst.Kind() {
	case reflect.Struct:
		f.structure(path, dst, src)
	case reflect.Slice:
		f.list(path, dst, src)
	case reflect.Map:
		f.texts(path, dst, src)
	default:
		f.plain(path, dst, src)
	}
}

func (f filler) optional(path string, dst reflect.Value, src any) {
	if src == "" {
		dst.SetZero()
		return
	}
	target := reflect.New(dst.Type().Elem())
	f.value(path, target.Elem(), src)
	if !f.doc.refused[path] {
		dst.Set(target)
	}
}

// leaf gives bare numbers to the type as text: it knows the unit to suggest.
func (f filler) leaf(path string, dst encoding.TextUnmarshaler, src any) {
	switch src.(type) {
	case string, int64, float64:
	default:
		f.wrongType(path, src, "a quoted text")
		return
	}
	err := dst.UnmarshalText([]byte(fmt.Sprint(src)))
	var fault *ValueError
	switch {
	case errors.As(err, &fault):
		f.doc.Refuse(path, fault.Hint, "%s", fault.What)
	case err != nil:
		what, hint, _ := strings.Cut(err.Error(), " — hint: ")
		f.doc.Refuse(path, hint, "%s", what)
	}
}

func (f filler) structure(path string, dst reflect.Value, src any) {
	switch src := src.(type) {
	case map[string]any:
		f.table(path, dst, src)
	case []any:
		f.doc.Refuse(path, fmt.Sprintf("there is one only: write [%s]", path), "is a list")
	default:
		f.wrongType(path, src, "a table")
	}
}

// texts fills a map from whatever keys to texts. They may be secrets, so that no problem
// shows one.
func (f filler) texts(path string, dst reflect.Value, src any) {
	table, ok := src.(map[string]any)
	if !ok {
		f.doc.Refuse(path, fmt.Sprintf("write [%s], and lines of NAME = \"text\" below it", path), "is no table")
		return
	}
	all := map[string]string{}
	for key, value := range table {
		if all[key], ok = value.(string); !ok {
			f.doc.Refuse(join(path, key), "put it into quotes", "is no text")
		}
	}
	dst.Set(reflect.ValueOf(all))
}

func (f filler) list(path string, dst reflect.Value, src any) {
	elements, ok := src.([]any)
	table := dst.Type().Elem().Kind() == reflect.Struct
	switch {
	case !ok && table:
		f.doc.Refuse(path, fmt.Sprintf("there may be several: write [[%s]]", path), "is not a list")
		return
	case !ok:
		f.wrongType(path, src, "a list in brackets")
		return
	}
	if len(elements) == 0 {
		dst.SetZero()
		return
	}
	list := reflect.MakeSlice(dst.Type(), len(elements), len(elements))
	for i, e := range elements {
		if d, ok := list.Index(i).Addr().Interface().(interface{ SetDefaults() }); ok {
			d.SetDefaults()
		}
		f.value(element(path, i), list.Index(i), e)
	}
	dst.Set(list)
}

// plain fills in a value that Go and TOML have in common.
func (f filler) plain(path string, dst reflect.Value, src any) {
	v := reflect.ValueOf(src)
	switch {
	case dst.CanInt() && v.CanInt():
		if dst.OverflowInt(v.Int()) {
			f.doc.Refuse(path, "write a smaller number", "%d is too large", v.Int())
			return
		}
		dst.SetInt(v.Int())
	case dst.CanInt():
		f.wrongType(path, src, "a whole number without quotes")
	case dst.CanFloat() && v.CanInt():
		dst.SetFloat(float64(v.Int()))
	case dst.CanFloat() && v.CanFloat():
		f.float(path, dst, v.Float())
	case dst.CanFloat():
		f.wrongType(path, src, "a number without quotes")
	case dst.Kind() == v.Kind():
		dst.Set(v.Convert(dst.Type()))
	case dst.Kind() == reflect.Bool:
		f.wrongType(path, src, "true or false, without quotes")
	default:
		f.wrongType(path, src, "a quoted text")
	}
}

// float fills in a number. TOML has nan and inf, which mean nothing as a setting.
func (f filler) float(path string, dst reflect.Value, src float64) {
	if math.IsNaN(src) || math.IsInf(src, 0) {
		f.doc.Refuse(path, "write a number, for example 0.5; leave the key out if there is no limit", "%v is no number", src)
		return
	}
	dst.SetFloat(src)
}

func (f filler) wrongType(path string, src any, want string) {
	what := "a date or time"
	switch src := src.(type) {
	case string:
		what = "the text " + quote(src)
	case bool:
		what = strconv.FormatBool(src)
	case int64, float64:
		what = fmt.Sprint("the number ", src)
	case []any:
		what = "a list"
	case map[string]any:
		what = "a table"
	}
	f.doc.Refuse(path, "write "+want, "is %s", what)
}

// fieldsOf returns the fields of a struct type, in their order. Those of an
// embedded struct stand among them.
func fieldsOf(t reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return f.Anonymous })
}

func keys(fields []reflect.StructField) []string {
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.Tag.Get("toml")
	}
	return known
}
