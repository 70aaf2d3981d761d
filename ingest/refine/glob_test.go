package refine

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPatternsMatchWholeNames(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		match         bool
		rename, want  string
	}{
		{"", "temp", true, "", ""},
		{"*", "temp", true, "x.*", "x.temp"},
		{"*", "", true, "*", ""},
		{"temp", "temp", true, "temperature", "temperature"},
		{"temp", "temp2", false, "", ""},
		{"temp", "Temp", false, "", ""},
		{"temp*", "temp", true, "t*", "t"},
		{"t_*", "t_inlet", true, "temp.*", "temp.inlet"},
		{"*.raw", "motor.a.raw", true, "*", "motor.a"},
		{"*.raw", "motor.raw.a", false, "", ""},
		{"*_*_*", "a_b_c_d", true, "*.*.*", "a.b.c_d"},
		{"a*b*c", "aXbbYc", true, "*-*", "X-bY"},
		{"a*b", "abab", true, "*", "ba"},
		{"volt.?", "volt.a", true, "", ""},
		{"volt.?", "volt.ä", true, "", ""},
		{"volt.?", "volt.", false, "", ""},
		{"volt.?", "volt.ab", false, "", ""},
		{"?*", "ä", true, "x*", "x"},
		{"*?", "äö", true, "*", "ä"},
		{"a/*/c", "a/b/b/c", true, "*", "b/b"},
		{"\xff", "\xff", true, "", ""},
		{"*é", "caf\xc3\xa9", true, "*", "caf"},
	} {
		var found spans
		if got := glob(c.pattern).match(c.name, &found); got != c.match {
			t.Errorf("%q on %q: %v", c.pattern, c.name, got)
		} else if got && fill(c.rename, c.name, &found) != c.want {
			t.Errorf("%q on %q: %q became %q, want %q", c.pattern, c.name, c.rename, fill(c.rename, c.name, &found), c.want)
		}
	}
}

// FuzzPattern compares match with regular expressions.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"t_*", "t_inlet"}, {"a*b*c", "aXbbYc"}, {"*?*", "äö"}, {"a*a*a*a*b", strings.Repeat("a", 60)}, {"?", "\xff"}, {"*\xc3*", "é"}, {"*", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(problemsOf("metric", pattern)) > 0 {
			return
		}
		text := regexp.QuoteMeta(pattern)
		text = strings.ReplaceAll(strings.ReplaceAll(text, `\*`, `(.*?)`), `\?`, `.`)
		if pattern == "" {
			text = `.*`
		}
		want := regexp.MustCompile(`(?s)\A` + text + `\z`).FindStringSubmatchIndex(name)
		var found spans
		if got := glob(pattern).match(name, &found); got != (want != nil) {
			t.Fatalf("%q on %q: %v", pattern, name, got)
		}
		if want == nil {
			return
		}
		for i := range stars(pattern) {
			if found[i].from != want[2*i+2] || found[i].to != want[2*i+3] {
				t.Fatalf("%q on %q: star %d is %+v, want %v", pattern, name, i, found[i], want)
			}
		}
		all := strings.Repeat("*", stars(pattern))
		if filled := fill(all, name, &found); len(filled) > len(name) || utf8.ValidString(name) && !utf8.ValidString(filled) {
			t.Fatalf("%q on %q: filled in %q", pattern, name, filled)
		}
	})
}

// A pattern that an attacker's name makes slow would stall a door.
func TestHardNamesAreMatchedInLinearSteps(t *testing.T) {
	var found spans
	name := strings.Repeat("a", 100_000)
	if glob("*a*a*a*a*a*a*ab").match(name, &found) {
		t.Error("there is no b")
	}
}
