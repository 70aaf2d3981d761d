package route

import (
	"fmt"
	"slices"
	"strings"
)

// Pattern builds a name from the variables of a template: "{site}/{device}".
type Pattern struct {
	parts []part
}

// part is literal text, or the value of a variable when that is not empty.
type part struct {
	literal  string
	variable string
}

// Pattern parses the text of a pattern over the template's variables and
// {topic}, the whole topic. Anything outside braces stands for itself.
func (t *Template) Pattern(text string) (Pattern, error) {
	var p Pattern
	for rest := text; rest != ""; {
		literal, variable, more := strings.Cut(rest, "{")
		if strings.Contains(literal, "}") {
			return Pattern{}, problem(fmt.Sprintf("pattern %q has a } without {", text), "variables are written {name}")
		}
		if literal != "" {
			p.parts = append(p.parts, part{literal: literal})
		}
		if !more {
			break
		}
		if variable, rest, more = strings.Cut(variable, "}"); !more {
			return Pattern{}, problem(fmt.Sprintf("pattern %q has a { without }", text), "variables are written {name}")
		}
		if !t.knows(variable) {
			return Pattern{}, t.unknown(text, variable)
		}
		p.parts = append(p.parts, part{variable: variable})
	}
	return p, nil
}

func (t *Template) knows(variable string) bool {
	return variable == topicVar || slices.Contains(t.vars, variable) || variable == userVar && t.users
}

func (t *Template) unknown(pattern, variable string) error {
	names := append(slices.Clone(t.vars), topicVar)
	if t.users {
		names = append(names, userVar)
	}
	known := "{" + strings.Join(names, "}, {") + "}"
	return problem(fmt.Sprintf("pattern %q: no variable {%s} in topic template %q", pattern, variable, t.text), "known are "+known)
}

// Expand returns the name for one topic. A pattern that is a single variable
// shares the topic's memory.
func (p Pattern) Expand(v *Vars) string {
	if len(p.parts) == 1 {
		return p.parts[0].text(v)
	}
	var b strings.Builder
	for _, part := range p.parts {
		b.WriteString(part.text(v))
	}
	return b.String()
}

func (p part) text(v *Vars) string {
	if p.variable != "" {
		return v.Get(p.variable)
	}
	return p.literal
}

// uses says whether the pattern has a part that is the variable.
func (p Pattern) uses(variable string) bool {
	return slices.ContainsFunc(p.parts, func(part part) bool { return part.variable == variable })
}
