package dialect

import "strings"

// metricOf returns the metric that a value template of Home Assistant takes from
// payloads on a topic, as decode.JSON and decode.Leaf name it; false if the
// template does more than that.
func metricOf(template, topic string) (string, bool) {
	if strings.TrimSpace(template) == "" {
		return lastOf(topic, "/"), true
	}
	inner, ok := strings.CutPrefix(strings.TrimSpace(template), "{{")
	if !ok {
		return "", false
	}
	if inner, ok = strings.CutSuffix(inner, "}}"); !ok {
		return "", false
	}
	// {{- and -}} strip spaces around.
	inner = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(inner, "-"), "-"))
	path, filters, _ := strings.Cut(inner, "|")
	if !harmless(filters) {
		return "", false
	}
	path = strings.TrimSpace(path)
	if path == "value" {
		return lastOf(topic, "/"), true
	}
	rest, ok := strings.CutPrefix(path, "value_json")
	if !ok {
		return "", false
	}
	return dotted(rest)
}

// harmless reports whether filters leave the measured value what it is: they
// round it, or turn a text into a number.
func harmless(filters string) bool {
	if filters == "" {
		return true
	}
	for f := range strings.SplitSeq(filters, "|") {
		name, arguments, called := strings.Cut(strings.TrimSpace(f), "(")
		arguments = strings.TrimPrefix(arguments, "default=")
		if called && strings.Trim(arguments, `0123456789., '"none)`) != "" {
			return false
		}
		switch strings.TrimSpace(name) {
		case "round", "float", "int", "is_defined", "default":
		default:
			return false
		}
	}
	return true
}

// dotted turns .a.b, ['a']["b"] and [0] into a.b and a.b.0.
func dotted(path string) (string, bool) {
	var parts []string
	for path != "" {
		var part string
		switch {
		case path[0] == '.':
			end := strings.IndexAny(path[1:], ".[")
			if end < 0 {
				end = len(path) - 1
			}
			part, path = path[1:1+end], path[1+end:]
			if !isIdentifier(part) {
				return "", false
			}
		case path[0] == '[':
			end := strings.IndexByte(path, ']')
			if end < 0 {
				return "", false
			}
			part, path = strings.TrimSpace(path[1:end]), path[end+1:]
			if n := len(part); n > 2 && (part[0] == '\'' || part[0] == '"') && part[n-1] == part[0] {
				part = part[1 : n-1]
			} else if !isNumber(part) {
				return "", false
			}
		default:
			return "", false
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "."), len(parts) > 0
}

// isIdentifier says whether a template means this as a name.
func isIdentifier(s string) bool {
	for _, c := range s {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c > 0x7f
		if !letter && (c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
