package route

import (
	"strings"
	"testing"
)

func TestTopicsAreThoseOfMQTT(t *testing.T) {
	for topic, want := range map[string]string{
		"a": "", "/": "", "/hall/temp": "", "a//b": "", "größe": "", strings.Repeat("x", 1024): "",
		"":                        "empty",
		"a/+/b":                   "wildcards",
		"a#":                      "wildcards",
		"a\x00":                   "wildcards",
		"a\xff":                   "UTF-8",
		strings.Repeat("x", 1025): "1024",
	} {
		if got := CheckTopic(topic); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%.20q: %q, want %q", topic, got, want)
		}
	}
}
