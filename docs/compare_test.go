package docs_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// What differs from run to run: times, sizes, numbers, digests, random names.
var varies = regexp.MustCompile(`…|[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}:[0-9]{2}(?::[0-9.]+)?|\b[0-9a-f]{8,}\b|[0-9]+(?:\.[0-9]+)*(?:[KMGT]i?B|ns|µs|ms|s\b)?|\s+`)

// likeness is the pattern of what a shown line stands for: its words as they are,
// any number for a number, anything for "…".
func likeness(line string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString("^")
	at := 0
	line = strings.TrimRight(line, " ")
	for _, m := range varies.FindAllStringIndex(line, -1) {
		b.WriteString(regexp.QuoteMeta(line[at:m[0]]))
		switch found := line[m[0]:m[1]]; {
		case found == "…":
			b.WriteString(".*")
		case strings.TrimSpace(found) == "":
			b.WriteString(`\s+`)
		default:
			b.WriteString(`[0-9a-f.:-]+(?:[KMGT]i?B|B|ns|µs|ms|s)?`)
		}
		at = m[1]
	}
	b.WriteString(regexp.QuoteMeta(line[at:]) + `\s*$`)
	return regexp.MustCompile(b.String())
}

// alike says what is wrong with what was printed, nil if it has every line that is
// shown, in this order. Lines in between do not matter.
func alike(shown, printed string) error {
	lines := strings.Split(printed, "\n")
	at := 0
	for _, line := range strings.Split(shown, "\n") {
		if strings.TrimSpace(line) == "" || strings.TrimSpace(line) == "…" {
			continue
		}
		want := likeness(line)
		for at < len(lines) && !want.MatchString(strings.TrimRight(lines[at], "\r")) {
			at++
		}
		if at == len(lines) {
			return fmt.Errorf("nothing like\n\t%s\nin\n%s", line, printed)
		}
		at++
	}
	return nil
}

// shapedLike says what the answer does not have of what is shown: its keys, and
// the kinds of their values. "…" stands for what was left out.
func shapedLike(shown, answer string) error {
	var want, got any
	if err := json.Unmarshal([]byte(completed(shown)), &want); err != nil {
		return fmt.Errorf("what is shown is no JSON: %w", err)
	}
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		return fmt.Errorf("the answer is no JSON: %w\n%s", err, answer)
	}
	if err := shaped("answer", want, got); err != nil {
		return fmt.Errorf("%w\n%s", err, answer)
	}
	return nil
}

func shaped(at string, want, got any) error {
	if want == nil {
		return nil
	}
	if a, b := fmt.Sprintf("%T", want), fmt.Sprintf("%T", got); a != b {
		return fmt.Errorf("%s is shown as a %s and is a %s", at, a, b)
	}
	switch want := want.(type) {
	case map[string]any:
		for key, value := range want {
			has, ok := got.(map[string]any)[key]
			if !ok {
				return fmt.Errorf("%s has no %q", at, key)
			}
			if err := shaped(at+"."+key, value, has); err != nil {
				return err
			}
		}
	case []any:
		for i, value := range want {
			if err := oneShaped(fmt.Sprintf("%s[%d]", at, i), value, got.([]any)); err != nil {
				return err
			}
		}
	}
	return nil
}

// oneShaped wants an element that is shaped like value.
func oneShaped(at string, value any, got []any) (err error) {
	if len(got) == 0 {
		return fmt.Errorf("%s: there is none", at)
	}
	for _, has := range got {
		if err = shaped(at, value, has); err == nil {
			return nil
		}
	}
	return err
}

func TestWhatIsShownIsComparedLoosely(t *testing.T) {
	for _, c := range []struct {
		shown, printed string
		same           bool
	}{
		{"2402 readings in 2 chunks, 1.3KiB, to …", "12 readings in 1 chunks, 800B, to x", true},
		{"a sync takes 1.4ms", "a sync takes 500µs", true},
		{"2402 readings", "no readings", false},
		{"one\ntwo", "zero\none\nand a half\ntwo\n", true},
		{"one\ntwo", "two\none\n", false},
		{"HTTP/1.1 201 Created\n{\"readings\":2}", "HTTP/1.1 201 Created\r\nContent-Length: 15\r\n\r\n{\"readings\":2}", true},
		{"HTTP/1.1 201 Created", "HTTP/1.1 401 Unauthorized", false},
	} {
		// A status is a number, too: what differs there is the word behind it.
		if err := alike(c.shown, c.printed); (err == nil) != c.same {
			t.Errorf("%q and %q: %v", c.shown, c.printed, err)
		}
	}
	for _, c := range []struct {
		shown, answer string
		same          bool
	}{
		{`{"a":1,"b":[{"c":"x"},…]}`, `{"a":7,"b":[{"c":"y","d":1}],"e":0}`, true},
		{`{"a":1}`, `{"a":"1"}`, false},
		{`{"a":[{"b":1}]}`, `{"a":[]}`, false},
		{`{"a":1,…}`, `{"b":1}`, false},
		{`{"a":…}`, `{"a":"1"}`, true},
	} {
		if err := shapedLike(c.shown, c.answer); (err == nil) != c.same {
			t.Errorf("%s and %s: %v", c.shown, c.answer, err)
		}
	}
}
