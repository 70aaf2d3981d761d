package route

import (
	"strings"
	"testing"
)

func TestTemplatesMatchAsMQTTFiltersWithNames(t *testing.T) {
	for _, c := range []struct {
		template, topic string
		match           bool
		vars            string // name=value, parted by spaces
	}{
		{"site/{site}/dev/{device}/telemetry", "site/north/dev/pump-7/telemetry", true, "site=north device=pump-7"},
		{"site/{site}/dev/{device}/telemetry", "site/north/dev/pump-7/state", false, ""},
		{"site/{site}/dev/{device}/telemetry", "site/north/dev/pump-7", false, ""},
		{"site/{site}/dev/{device}/telemetry", "site/north/dev/pump-7/telemetry/x", false, ""},
		{"{device}", "pump", true, "device=pump topic=pump"},
		{"{device}", "pump/7", false, ""},
		{"{device}", "", false, ""},
		{"a/{device}", "a/", false, ""},
		{"a/+", "a/", true, "topic=a/"},
		{"+/b", "/b", true, ""},
		{"/b", "/b", true, ""},
		{"a//b", "a//b", true, ""},
		{"a//b", "a/x/b", false, ""},
		{"+/{metric}/+", "a/temp/c", true, "metric=temp"},
		{"#", "a/b/c", true, ""},
		{"a/#", "a", true, ""},
		{"a/#", "a/", true, ""},
		{"a/#", "a/b/c", true, ""},
		{"a/#", "ab", false, ""},
		{"a/{device}/#", "a/x/y/z", true, "device=x"},
		{"a/{device}/#", "a/x", true, "device=x"},
		{"a/{device}/#", "a", false, ""},
		{"A/b", "a/b", false, ""},
	} {
		tpl, err := ParseTemplate(c.template)
		if err != nil {
			t.Errorf("%s: %v", c.template, err)
			continue
		}
		vars, ok := tpl.Match(c.topic)
		if ok != c.match {
			t.Errorf("%s on %q: %v, want %v", c.template, c.topic, ok, c.match)
		}
		for _, pair := range strings.Fields(c.vars) {
			name, want, _ := strings.Cut(pair, "=")
			if got := vars.Get(name); got != want {
				t.Errorf("%s on %q: %s is %q, want %q", c.template, c.topic, name, got, want)
			}
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	tpl, err := ParseTemplate("site/{site}/dev/{device}/telemetry")
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if vars, ok := tpl.Match("site/north/dev/pump-7/telemetry"); !ok || vars.Get("device") != "pump-7" {
			t.Error("no match")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWrongTemplatesSayWhatAndWhere(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "empty",
		"$SYS/broker/{x}":                     "begins with $",
		"a/b#":                                `level 2 "b#"`,
		"a/#/b":                               "# is not the last level",
		"a/{}":                                `"" is no name`,
		"a/{b c}":                             `"b c" is no name`,
		"a/{{b}}":                             `"{b}" is no name`,
		"a/{b":                                `level 2 "{b"`,
		"a/b}":                                `level 2 "b}"`,
		"a/dev-{b}":                           "a level of their own",
		"a/b+":                                "a level of their own",
		"a/\x00":                              "level 2",
		"{a}/{a}":                             "used twice",
		"{topic}":                             "whole topic",
		"{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}": "more than 8",
	} {
		_, err := ParseTemplate(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%q: error %v, want one about %s with a hint", text, err, want)
		}
	}
}

func TestPatternsNameThingsAfterVariables(t *testing.T) {
	tpl, err := ParseTemplate("site/{site}/dev/{device}/{metric}")
	if err != nil {
		t.Fatal(err)
	}
	vars, _ := tpl.Match("site/north/dev/p7/temp")
	for text, want := range map[string]string{
		"":                      "",
		"pump":                  "pump",
		"{device}":              "p7",
		"{site}/{device}":       "north/p7",
		"x-{metric}-{metric}.y": "x-temp-temp.y",
		"{topic}":               "site/north/dev/p7/temp",
	} {
		p, err := tpl.Pattern(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := p.Expand(&vars); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"{dev}":      "known are {site}, {device}, {metric}, {topic}",
		"{site":      "{ without }",
		"site}":      "} without {",
		"{site}}":    "} without {",
		"{{site}}":   "no variable {{site}",
		"{device}/{": "{ without }",
	} {
		if _, err := tpl.Pattern(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
}

// FuzzTemplate compares Match with a plain reading of the rules for MQTT topic
// filters, and puts the topic together again from the variables.
func FuzzTemplate(f *testing.F) {
	f.Add("site/{site}/dev/{device}/telemetry", "site/a/dev/b/telemetry")
	f.Add("+/{a}/#", "x/y/z/z")
	f.Add("a/#", "a")
	f.Add("//{a}", "//b")
	f.Add("a/{b", "a/b")
	f.Fuzz(func(t *testing.T, text, topic string) {
		tpl, err := ParseTemplate(text)
		if err != nil {
			return
		}
		if tpl.String() != text {
			t.Fatalf("%q became %q", text, tpl)
		}
		vars, ok := tpl.Match(topic)
		levels, parts := strings.Split(text, "/"), strings.Split(topic, "/")
		if want := matches(levels, parts); ok != want {
			t.Fatalf("%q on %q: %v, want %v", text, topic, ok, want)
		}
		for i, l := range levels {
			if ok && strings.HasPrefix(l, "{") && vars.Get(l[1:len(l)-1]) != parts[i] {
				t.Fatalf("%q on %q: %s is not %q", text, topic, l, parts[i])
			}
		}
	})
}

func matches(levels, parts []string) bool {
	if len(levels) == 0 {
		return len(parts) == 0
	}
	if levels[0] == "#" {
		return true
	}
	if len(parts) == 0 {
		return false
	}
	variable := strings.HasPrefix(levels[0], "{")
	fits := levels[0] == "+" || variable && parts[0] != "" || !variable && levels[0] == parts[0]
	return fits && matches(levels[1:], parts[1:])
}
