package conf

import (
	"reflect"
	"strings"
	"testing"
)

func TestTextsVisitsEveryTextOnce(t *testing.T) {
	config := shown{
		Name: "a", Many: []string{"left alone"}, Raw: Bytes("left alone"),
		Inner: inner{Text: "b"}, List: []inner{{Text: "c"}, {Still: "d"}}, Maybe: &inner{Text: "e"},
	}
	seen := map[string]string{}
	Texts(&config, func(path, text string) string {
		if _, again := seen[path]; again {
			t.Errorf("%s twice", path)
		}
		seen[path] = text
		return strings.ToUpper(text)
	})
	want := map[string]string{
		"name": "a", "secret": "", "inner.text": "b", "inner.still": "",
		"list[0].text": "c", "list[0].still": "", "list[1].text": "", "list[1].still": "d", "maybe.text": "e", "maybe.still": "",
	}
	if !reflect.DeepEqual(seen, want) {
		t.Errorf("seen %v, want %v", seen, want)
	}
	after := shown{
		Name: "A", Many: []string{"left alone"}, Raw: Bytes("left alone"),
		Inner: inner{Text: "B"}, List: []inner{{Text: "C"}, {Still: "D"}}, Maybe: &inner{Text: "E"},
	}
	if !reflect.DeepEqual(config, after) {
		t.Errorf("got %+v", config)
	}
}

func TestTextsOfNothing(t *testing.T) {
	var config shown
	Texts(&config, func(_, text string) string { return text })
	if !reflect.DeepEqual(config, shown{}) {
		t.Errorf("got %+v", config)
	}
}
