package conf

import "reflect"

// Texts calls visit with every text of the configuration that into points to, and its
// path as Refuse wants it. What visit returns takes its place. Lists of texts, and
// types that read and write themselves, are left alone.
func Texts(into any, visit func(path, text string) string) {
	texts("", reflect.ValueOf(into).Elem(), visit)
}

func texts(path string, table reflect.Value, visit func(path, text string) string) {
	for _, f := range fieldsOf(table.Type()) {
		v, path := table.FieldByIndex(f.Index), join(path, f.Tag.Get("toml"))
		switch {
		case !isTable(f.Type):
			if v.Kind() == reflect.String {
				v.SetString(visit(path, v.String()))
			}
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				texts(element(path, i), v.Index(i), visit)
			}
		case v.Kind() == reflect.Pointer:
			if !v.IsNil() {
				texts(path, v.Elem(), visit)
			}
		default:
			texts(path, v, visit)
		}
	}
}
