package docs_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	anchored = regexp.MustCompile(`\]\(([^)#\s]*)#([^)\s]+)\)`)
	dropped  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestAnchorsLeadToHeadings looks for the heading behind every link that names one.
// That the file is there is looked at elsewhere.
func TestAnchorsLeadToHeadings(t *testing.T) {
	for _, page := range append(pages(t), "CHANGELOG.md") {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range anchored.FindAllStringSubmatch(string(text), -1) {
			target := page
			if strings.Contains(m[1], "://") || path.Ext(m[1]) != ".md" && m[1] != "" {
				continue
			}
			if m[1] != "" {
				target = path.Join(path.Dir(page), m[1])
			}
			if !headingsOf(t, target)[m[2]] {
				t.Errorf("%s links to %s#%s, and there is no such heading", page, target, m[2])
			}
		}
	}
}

// headingsOf returns the anchors of a page, as GitHub makes them.
func headingsOf(t *testing.T, page string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	all, fenced := make(map[string]bool), false
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if heading := strings.TrimLeft(line, "#"); !fenced && heading != line {
			anchor := dropped.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			all[strings.ReplaceAll(anchor, " ", "-")] = true
		}
	}
	return all
}
