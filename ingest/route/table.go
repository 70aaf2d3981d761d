// Package route says what a topic means: whose readings it carries, what they
// are called, how urgent they are and how their payload is decoded.
//
// A Table is an ordered list of rules; the first whose template describes the
// topic wins:
//
//	site/{site}/dev/{device}/telemetry   device "{site}/{device}"   json
//	alarms/{device}/{metric}             lane alarm                 json
//	#                                                               raw
//
// A topic that no rule describes is not lost. An object on it belongs to a
// device named as the topic; a plain value belongs to the level above it, which
// makes "home/kitchen/temp" with the payload 21.5 the metric temp of
// home/kitchen.
//
// Topics that begin with $ are the broker's own and never resolve.
package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/reading"
)

// Rule says what the topics of one template mean.
type Rule struct {
	// Topic is the template's text; see Template.
	Topic string
	// Device is the pattern of the device's name. Empty means {device} if the
	// template has that variable, and {topic} otherwise.
	Device string
	// Metric is the pattern that names payloads without names of their own.
	// Empty means {metric} if the template has that variable, and otherwise
	// that the decoder chooses.
	Metric string
	// Lane is the lane of the readings.
	Lane reading.Lane
	// Decoder reads the payloads. It must not be nil.
	Decoder decode.Decoder
	// KeepOpaque says that a payload that Decoder refuses is kept whole.
	KeepOpaque bool
	// Refine is what happens to the readings before custody; it may be nil.
	Refine Refiner
	// Users says that Device and Metric may use {user}, the name that a peer has
	// shown. Such a rule does not describe topics of peers without one.
	Users bool
}

// Table resolves topics. It never changes and is safe for concurrent use.
type Table struct {
	rules []compiled
	other decode.Decoder
}

type compiled struct {
	Rule
	template       *Template
	device, metric Pattern
	needsUser      bool
}

// NewTable returns a table of the rules. other decodes the payloads of topics
// that no rule describes; those go to the normal lane and are kept when they
// cannot be decoded. The error joins one error for each rule that is wrong.
func NewTable(rules []Rule, other decode.Decoder) (*Table, error) {
	t := &Table{other: decode.Leaf{Decoder: other}}
	var problems []error
	for i, r := range rules {
		c, err := compile(r)
		if err != nil {
			problems = append(problems, fmt.Errorf("route %d: %w", i+1, err))
		}
		t.rules = append(t.rules, c)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return t, nil
}

func compile(r Rule) (compiled, error) {
	c := compiled{Rule: r}
	var err error
	if c.template, err = ParseTemplate(r.Topic); err != nil {
		return c, err
	}
	if r.Users {
		c.template.WithUser()
	}
	if r.Device == "" {
		r.Device = "{topic}"
		if c.template.knows("device") {
			r.Device = "{device}"
		}
	}
	if c.device, err = c.template.Pattern(r.Device); err != nil {
		return c, fmt.Errorf("device: %w", err)
	}
	if r.Metric == "" && c.template.knows("metric") {
		r.Metric = "{metric}"
	}
	if c.metric, err = c.template.Pattern(r.Metric); err != nil {
		return c, fmt.Errorf("metric: %w", err)
	}
	c.needsUser = r.Users && !slices.Contains(c.template.vars, userVar) && (c.device.uses(userVar) || c.metric.uses(userVar))
	return c, nil
}

// Filters returns the Forget of every Refiner there is, for
// (*ingest.Intake).OnLoss.
func (t *Table) Filters() []func() {
	var all []func()
	for _, r := range t.rules {
		if r.Refine != nil {
			all = append(all, r.Refine.Forget)
		}
	}
	return all
}

// Resolve returns what the topic means; false for topics that begin with $. It
// looks at the rules one by one: callers keep the answer for the topics that
// they see all day.
func (t *Table) Resolve(topic string) (Target, bool) { return t.ResolveFor(topic, "") }

// ResolveFor returns what the topic means when the user, who is somebody, sends
// to it; see Rule.Users.
func (t *Table) ResolveFor(topic, user string) (Target, bool) {
	if strings.HasPrefix(topic, "$") {
		return Target{}, false
	}
	for i := range t.rules {
		r := &t.rules[i]
		if r.needsUser && user == "" {
			continue
		}
		if vars, ok := r.template.Match(topic); ok {
			vars.user = user
			return Target{
				Topic:      topic,
				Device:     r.device.Expand(&vars),
				Metric:     r.metric.Expand(&vars),
				Lane:       r.Lane,
				Decoder:    r.Decoder,
				KeepOpaque: r.KeepOpaque,
				Refine:     r.Refine,
			}, true
		}
	}
	return Target{Topic: topic, Device: topic, Decoder: t.other, KeepOpaque: true}, true
}
