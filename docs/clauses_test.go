package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestNoClauseIsLeftOut holds docs/understand/clauses.md against the list of what
// there is, and every claim in it against the tests and files that it names.
func TestNoClauseIsLeftOut(t *testing.T) {
	var want []string
	for i, n := range []int{5, 3, 16, 4, 8, 9, 2, 3, 3, 1, 4, 3, 1} { // provisions of 5.1 to 5.13
		for k := range n {
			want = append(want, fmt.Sprintf("5.%d-%d", i+1, k+1))
		}
	}
	for k := range 5 {
		want = append(want, fmt.Sprintf("6-%d", k+1))
	}
	want = append(want, "(1)") // of part I
	for c := 'a'; c <= 'm'; c++ {
		want = append(want, fmt.Sprintf("(%c)", c))
	}
	for k := range 8 {
		want = append(want, fmt.Sprintf("(%d)", k+1))
	}
	text, err := os.ReadFile("understand/clauses.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t)
	var have []string
	for _, row := range clauseRows(string(text)) {
		have = append(have, row[1])
		checkClaim(t, row[1], row[2], row[3], tests)
	}
	if !slices.Equal(have, want) {
		t.Errorf("the page has\n%v\nthere are\n%v", have, want)
	}
}

// clauseRows returns clause, claim and what holds it, behind the whole row.
func clauseRows(text string) [][]string {
	return regexp.MustCompile(`(?m)^\| ([(\d][^ |]*) \|[^|\n]*\| ([^|\n]*) \|(.*)\|$`).FindAllStringSubmatch(text, -1)
}

// recommended are the provisions of EN 303 645 that say "should", by its table B.1.
const recommended = `5.2-2 5.2-3 5.3-1 5.3-4 5.3-5 5.3-6 5.3-9 5.3-11 5.3-12 5.3-14 5.3-15 5.5-2 5.5-3 5.5-4 5.5-6
	5.6-3 5.6-5 5.6-6 5.6-7 5.6-8 5.6-9 5.7-1 5.7-2 5.8-1 5.9-1 5.9-2 5.9-3 5.10-1 5.11-2 5.11-3 5.11-4 5.12-1 5.12-2 5.12-3 6-4`

// TestEveryRecommendationThatIsNotFulfilledIsJustified: its provision 4-1 wants that.
func TestEveryRecommendationThatIsNotFulfilledIsJustified(t *testing.T) {
	text, err := os.ReadFile("understand/clauses.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, have []string
	for _, row := range clauseRows(string(text)) {
		unfulfilled := regexp.MustCompile(`\*\*(in part|not met|maker)\*\*|does not apply`).MatchString(row[2])
		if unfulfilled && slices.Contains(strings.Fields(recommended), row[1]) {
			want = append(want, row[1])
		}
	}
	for _, row := range regexp.MustCompile(`(?m)^\| ([\d.-]+) \| [^|\n]+ \|$`).FindAllStringSubmatch(string(text), -1) {
		have = append(have, row[1])
	}
	if !slices.Equal(have, want) {
		t.Errorf("justified are\n%v\nnot fulfilled are\n%v", have, want)
	}
}

// checkClaim looks whether what is met is held by something that is there.
func checkClaim(t *testing.T, clause, claim, heldBy string, tests map[string]bool) {
	t.Helper()
	named := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(heldBy, -1)
	claims := strings.Contains(claim, "**met**") || strings.Contains(claim, "**in part**")
	if !claims && !regexp.MustCompile(`\*\*(maker|not met)\*\*|does not apply`).MatchString(claim) {
		t.Errorf("%s says neither met, in part, not met, maker nor that it does not apply: %s", clause, claim)
	}
	if claims && len(named) == 0 {
		t.Errorf("%s is held by nothing", clause)
	}
	for _, name := range named {
		if _, err := os.Stat(filepath.Join(root, name[1])); err != nil && !tests[name[1]] {
			t.Errorf("%s is held by %s, which is neither a test nor a file", clause, name[1])
		}
	}
}
