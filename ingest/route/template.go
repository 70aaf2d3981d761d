package route

import (
	"fmt"
	"slices"
	"strings"
)

// MaxVars is how many variables one template may have.
const MaxVars = 8

// topicVar is the variable that every pattern knows: the whole topic. userVar is
// one that the patterns of some doors know: who the peer has shown itself to be.
const (
	topicVar = "topic"
	userVar  = "user"
)

// Template describes a family of topics. Its levels, parted by slashes, are
//
//	pump      literal: this level and no other
//	{device}  variable: any level that is not empty; patterns can use it
//	+         any level, also an empty one
//	#         last level only: any number of further levels, also none
//
// which is an MQTT topic filter whose wildcards may have names.
type Template struct {
	text   string
	levels []level
	vars   []string // the variables' names, left to right
	tail   bool     // ends in #
	users  bool     // patterns may use {user}
}

// WithUser lets patterns use {user}, the name of the peer, unless a level of the
// template has that name. It returns t.
func (t *Template) WithUser() *Template {
	t.users = true
	return t
}

// level is one level of a template. The zero value is "+".
type level struct {
	literal string
	kind    levelKind
}

type levelKind uint8

const (
	anyLevel levelKind = iota
	literalLevel
	variableLevel
)

// ParseTemplate parses the text of a template. The error names the level that
// is wrong.
func ParseTemplate(text string) (*Template, error) {
	if text == "" {
		return nil, problem("topic template is empty", `"#" takes every topic`)
	}
	if text[0] == '$' {
		return nil, problem(fmt.Sprintf("topic template %q begins with $", text), "such topics are the broker's own and carry no readings")
	}
	t := &Template{text: text}
	parts := strings.Split(text, "/")
	if last := len(parts) - 1; parts[last] == "#" {
		t.tail = true
		parts = parts[:last]
	}
	for i, part := range parts {
		if err := t.addLevel(part); err != nil {
			return nil, fmt.Errorf("topic template %q: level %d %q: %w", text, i+1, part, err)
		}
	}
	return t, nil
}

func (t *Template) addLevel(part string) error {
	switch {
	case part == "+":
		t.levels = append(t.levels, level{})
		return nil
	case !strings.ContainsAny(part, "{}+#\x00"):
		t.levels = append(t.levels, level{literal: part, kind: literalLevel})
		return nil
	case strings.HasPrefix(part, "{") && strings.HasSuffix(part, "}"):
		t.levels = append(t.levels, level{kind: variableLevel})
		return t.addVar(part[1 : len(part)-1])
	case part == "#":
		return problem("# is not the last level", "end the template there, or write + for one level")
	}
	return problem("wildcards and variables fill a level of their own", "write + or {name} between two slashes")
}

func (t *Template) addVar(name string) error {
	if !isName(name) {
		return problem(fmt.Sprintf("%q is no name", name), "use letters, digits, - and _")
	}
	if name == topicVar {
		return problem("{topic} always means the whole topic", "choose another name")
	}
	if slices.Contains(t.vars, name) {
		return problem("the name is used twice", "each variable stands for one level; write + for levels that do not matter")
	}
	if len(t.vars) == MaxVars {
		return problem(fmt.Sprintf("more than %d variables", MaxVars), "write + for levels that do not matter")
	}
	t.vars = append(t.vars, name)
	return nil
}

func isName(s string) bool {
	for _, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		digit := c >= '0' && c <= '9'
		if !letter && !digit && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// String returns the text that the template was parsed from.
func (t *Template) String() string { return t.text }

// Vars are what the variables of a template stand for in one topic.
type Vars struct {
	topic  string
	user   string
	names  []string
	values [MaxVars]string
}

// Get returns what the named variable stands for; "" when there is none of that
// name. The variable topic is the whole topic.
func (v *Vars) Get(name string) string {
	if name == topicVar {
		return v.topic
	}
	if i := slices.Index(v.names, name); i >= 0 {
		return v.values[i]
	}
	if name == userVar {
		return v.user
	}
	return ""
}

// Match says whether the template describes the topic, and what its variables
// stand for. It does not allocate.
func (t *Template) Match(topic string) (Vars, bool) {
	v := Vars{topic: topic, names: t.vars}
	found := 0
	rest, more := topic, true
	for _, l := range t.levels {
		if !more {
			return Vars{}, false
		}
		var part string
		part, rest, more = strings.Cut(rest, "/")
		switch l.kind {
		case literalLevel:
			if part != l.literal {
				return Vars{}, false
			}
		case variableLevel:
			if part == "" {
				return Vars{}, false
			}
			v.values[found] = part
			found++
		}
	}
	if more && !t.tail {
		return Vars{}, false
	}
	return v, true
}

func problem(what, hint string) error {
	return fmt.Errorf("%s — hint: %s", what, hint)
}
