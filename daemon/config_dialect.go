package daemon

import (
	"fmt"
	"slices"

	"github.com/tidegate/tidegate/ingest/dialect"
	"github.com/tidegate/tidegate/ingest/route"
)

// dialects returns the names of all dialects.
func dialects() []string {
	var names []string
	for _, d := range dialect.Known() {
		names = append(names, d.Name)
	}
	return names
}

func validateDialects(r refuse, key string, names []string) {
	for i, name := range names {
		at := fmt.Sprintf("%s[%d]", key, i)
		r.oneOf(at, name, dialects()...)
		if slices.Index(names, name) < i {
			r(at, "write it once", "%q stands there twice", name)
		}
	}
}

// dialectOf returns the name of the dialect that is spoken on a topic, and which of
// its topics that is; none if it is none of these dialects.
func dialectOf(topic string, names []string) (name, template string) {
	for _, d := range dialect.Known() {
		for _, text := range d.Topics {
			t, err := route.ParseTemplate(text)
			if err != nil || !slices.Contains(names, d.Name) {
				continue
			}
			if _, matches := t.Match(topic); matches {
				return d.Name, text
			}
		}
	}
	return "", ""
}

// dialects returns the rules for the topics of dialects, in the order of
// dialect.Known. What they cannot decode is kept.
func (v vocabulary) dialects(names []string) []route.Rule {
	var rules []route.Rule
	for _, d := range dialect.Known() {
		if !slices.Contains(names, d.Name) {
			continue
		}
		for _, topic := range d.Topics {
			rules = append(rules, route.Rule{Topic: topic, Decoder: v.decoders[d.Name], KeepOpaque: true})
		}
	}
	return rules
}
