package linediff

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnified(t *testing.T) {
	long := "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n"
	for _, tt := range []struct{ name, old, new, want string }{
		{"the same", long, long, ""},
		{"both empty", "", "", ""},
		{"a last line without its end", "a", "a\n", ""},
		{"from nothing", "", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n"},
		{"to nothing", "a\n", "", "@@ -1 +0,0 @@\n-a\n"},
		{"one line", "a\nb\nc\n", "a\nB\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"},
		{"two places", long, strings.Replace(strings.Replace(long, "2\n", "two\n", 1), "14\n", "14\n14a\n", 1),
			"@@ -1,5 +1,5 @@\n 1\n-2\n+two\n 3\n 4\n 5\n@@ -12,4 +12,5 @@\n 12\n 13\n 14\n+14a\n 15\n"},
		{"two places that touch", "1\n2\n3\n4\n5\n6\n7\n8\n", "a\n2\n3\n4\n5\n6\n7\nb\n",
			"@@ -1,8 +1,8 @@\n-1\n+a\n 2\n 3\n 4\n 5\n 6\n 7\n-8\n+b\n"},
		{"an empty line", "a\nb\n", "a\n\nb\n", "@@ -1,2 +1,3 @@\n a\n+\n b\n"},
	} {
		if got := Unified(tt.old, tt.new); got != tt.want {
			t.Errorf("%s:\n%s\nwant:\n%s", tt.name, got, tt.want)
		}
	}
}

func TestATextThatIsAllDifferentIsReplaced(t *testing.T) {
	old, new := strings.Repeat("a\n", 3*maxEdits), strings.Repeat("b\n", 3*maxEdits)
	if got := Unified(old, new); strings.Count(got, "\n-a") != 3*maxEdits || strings.Count(got, "\n+b") != 3*maxEdits {
		t.Errorf("%d bytes", len(got))
	}
}

// apply is patch(1) for what Unified writes.
func apply(t *testing.T, old, diff string) string {
	t.Helper()
	var out []string
	rest := lines(old)
	for _, line := range lines(diff) {
		switch line[0] {
		case '@':
			from, n := 0, 1
			text, _, _ := strings.Cut(strings.TrimPrefix(line, "@@ -"), " ")
			if first, count, ok := strings.Cut(text, ","); ok {
				from, n = number(t, first), number(t, count)
			} else {
				from = number(t, text)
			}
			if n == 0 {
				from++
			}
			same := from - 1 - (len(lines(old)) - len(rest))
			if same < 0 || same > len(rest) {
				t.Fatalf("%q is not behind the hunk before it", line)
			}
			out, rest = append(out, rest[:same]...), rest[same:]
		case ' ', '-':
			if len(rest) == 0 || rest[0] != line[1:] {
				t.Fatalf("%q is not there", line)
			}
			if line[0] == ' ' {
				out = append(out, rest[0])
			}
			rest = rest[1:]
		case '+':
			out = append(out, line[1:])
		}
	}
	return strings.Join(append(out, rest...), "\n")
}

func number(t *testing.T, text string) (n int) {
	t.Helper()
	for _, c := range text {
		if c < '0' || c > '9' {
			t.Fatalf("%q is no number", text)
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// What is said of any two texts makes one of them the other.
func FuzzUnified(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nc\nd\n")
	f.Add("", "x")
	f.Add("a\n\n\na\nb\na\nb\n", "b\na\nb\n\n")
	f.Fuzz(func(t *testing.T, old, new string) {
		diff := Unified(old, new)
		if got := apply(t, old, diff); got != strings.Join(lines(new), "\n") {
			t.Errorf("%q and %q: %q makes %q", old, new, diff, got)
		}
		if len(diff) > 2*(len(old)+len(new))+60*(len(lines(old))+len(lines(new))) {
			t.Errorf("%d bytes about %d and %d", len(diff), len(old), len(new))
		}
	})
}

// patch(1) agrees.
func TestPatchUnderstandsIt(t *testing.T) {
	patch, err := exec.LookPath("patch")
	if err != nil {
		t.Skip("no patch: apt-get install patch")
	}
	old := "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n"
	new := "0\n1\n2\n3\n4\n5\n6\n7\nsix\n9\n10\n12\n13\n"
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(patch, file)
	cmd.Stdin = strings.NewReader("--- a\n+++ b\n" + Unified(old, new))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, _ := os.ReadFile(file); string(got) != new {
		t.Errorf("%q, want %q", got, new)
	}
}
