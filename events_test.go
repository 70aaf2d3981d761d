package tidegate_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	loggedEvent = regexp.MustCompile(`"event", "([a-z_]+)"|Event = "([a-z_]+)"`)
	listedEvent = regexp.MustCompile("`([a-z_]+)`")
)

// TestEventsAreListed keeps the words that people filter logs by, and where they are
// listed, together.
func TestEventsAreListed(t *testing.T) {
	logged, listed := make(map[string]bool), make(map[string]bool)
	for _, s := range load(t).sources {
		if s.test {
			continue
		}
		text, err := os.ReadFile(s.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range loggedEvent.FindAllStringSubmatch(string(text), -1) {
			logged[found[1]+found[2]] = true
		}
	}
	page, err := os.ReadFile("docs/operate/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	for row := range strings.Lines(string(page)) {
		cells := strings.Split(row, "|")
		if len(cells) < 4 || !strings.Contains(row, "TIDEGATE_EVENT=") {
			continue
		}
		for _, found := range listedEvent.FindAllStringSubmatch(cells[1], -1) {
			listed[found[1]] = true
		}
	}
	if a, b := slices.Sorted(maps.Keys(logged)), slices.Sorted(maps.Keys(listed)); !slices.Equal(a, b) {
		t.Errorf("the program logs the events\n%v\nand docs/operate/logs.md lists\n%v", a, b)
	}
}
