package decode

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// step is one step of a path from the top of a JSON text to a value.
type step struct {
	kind  stepKind
	name  string // of a member
	index int    // of an element, -1 if name is no number
}

type stepKind uint8

const (
	toName   stepKind = iota // the member called name, or the element at index
	toIndex                  // the element at index
	toAny                    // every member or element
	toDevice                 // every member, whose name is the device
	toMetric                 // every member, whose name is the metric, or a part of it
)

// path is a place in a JSON text, or several with a * in it.
type path []step

// maxPath bounds the steps of a path.
const maxPath = maxDepth

// bracketedName matches ["name"].
var bracketedName = regexp.MustCompile(`\["(?:[^"\\]|\\.)*"\]`)

// parsePath reads a path: payload.sensors[*].t, or data/temp where names have
// dots in them. A leading $. or / does not count.
func parsePath(text string) (path, error) {
	rest := strings.TrimPrefix(text, "$")
	separator := "."
	if strings.Contains(bracketedName.ReplaceAllString(rest, ""), "/") {
		separator = "/"
	}
	rest = strings.TrimPrefix(rest, separator)
	if rest == "" {
		return path{}, nil // the whole text
	}
	var p path
	for rest != "" {
		if len(p) == maxPath {
			return nil, pathError(text, "is too long", fmt.Sprintf("at most %d steps", maxPath))
		}
		s, after, err := cutStep(text, rest, separator)
		if err != nil {
			return nil, err
		}
		p = append(p, s)
		behind, more := strings.CutPrefix(after, separator)
		if more && behind == "" {
			return nil, pathError(text, "ends with a separator", "leave it out")
		}
		if !more && behind != "" && behind[0] != '[' {
			return nil, pathError(text, "has "+strconv.Quote(behind)+" behind a bracket", "a separator or another bracket must follow")
		}
		rest = behind
	}
	return p, p.check(text)
}

// cutStep takes the first step of rest.
func cutStep(text, rest, separator string) (s step, after string, err error) {
	if rest[0] == '[' {
		return bracketed(text, rest)
	}
	name := rest
	if end := strings.IndexAny(rest, separator+"["); end >= 0 {
		name, after = rest[:end], rest[end:]
	}
	switch {
	case name == "":
		return s, "", pathError(text, "has an empty step", "a name must stand between two separators")
	case name[0] == '{' && name != "{device}" && name != "{metric}":
		return s, "", pathError(text, "has "+name, "known are {device} and {metric}; a name with braces is written [\"{…}\"]")
	}
	return namedStep(name), after, nil
}

// bracketed reads a step in brackets: [*], [3] or ["a name"].
func bracketed(text, rest string) (s step, after string, err error) {
	if strings.HasPrefix(rest, `["`) {
		quoted, err := strconv.QuotedPrefix(rest[1:])
		if err != nil || !strings.HasPrefix(rest[1+len(quoted):], "]") {
			return s, "", pathError(text, "has a name in brackets that does not end", `write ["name"]`)
		}
		name, _ := strconv.Unquote(quoted)
		return step{kind: toName, name: name, index: -1}, rest[len(quoted)+2:], nil
	}
	inner, after, ok := strings.Cut(rest[1:], "]")
	if !ok {
		return s, "", pathError(text, "has a bracket that is not closed", "write [*], [3] or [\"name\"]")
	}
	if inner == "*" {
		return step{kind: toAny}, after, nil
	}
	index, err := strconv.ParseUint(inner, 10, 31)
	if err != nil {
		return s, "", pathError(text, "has ["+inner+"]", "write [*], [3] or [\"name\"]")
	}
	return step{kind: toIndex, index: int(index)}, after, nil
}

// namedStep is a step that is not in brackets.
func namedStep(name string) step {
	switch name {
	case "*":
		return step{kind: toAny}
	case "{device}":
		return step{kind: toDevice}
	case "{metric}":
		return step{kind: toMetric}
	}
	index, err := strconv.ParseUint(name, 10, 31)
	if err != nil {
		return step{kind: toName, name: name, index: -1}
	}
	return step{kind: toName, name: name, index: int(index)}
}

func (p path) check(text string) error {
	devices := 0
	for _, s := range p {
		if !utf8.ValidString(s.name) || len(s.name) > maxName {
			return pathError(text, "has a name that is too long or not UTF-8", fmt.Sprintf("names may have %d bytes", maxName))
		}
		if s.kind == toDevice {
			devices++
		}
	}
	if devices > 1 {
		return pathError(text, "names the device twice", "use {device} once")
	}
	return nil
}

func pathError(text, what, hint string) error {
	return fmt.Errorf("path %q %s — hint: %s", text, what, hint)
}

// single says whether the path leads to one place only.
func (p path) single() bool {
	return !slices.ContainsFunc(p, func(s step) bool { return s.kind >= toAny })
}

// fork returns how many steps p has in common with other.
func (p path) fork(other path) int {
	n := 0
	for n < len(p) && n < len(other) && p[n] == other[n] {
		n++
	}
	return n
}
