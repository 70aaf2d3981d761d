package conf

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestATextIsTakenApart(t *testing.T) {
	const text = `# about the file

schema = 1
# of schema

# above credential
[ credential ] # beside
a = "x" # beside
# below a

"b c" = """
y
# no comment"""
# below b
[[uplink.http]]
list = [1,
  # in the list
  2]
# after the list
table.dotted = { a = 1 }

# at the end
`
	pieces, err := Pieces("p", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range pieces {
		got = append(got, fmt.Sprintf("%s|%s|%s|%q|%d+%d+%d", p.Table, p.Path, p.Key, p.Name,
			bytes.Count(p.Before, []byte("\n")), bytes.Count(p.Body, []byte("\n")), bytes.Count(p.After, []byte("\n"))))
	}
	want := []string{
		`schema||schema|"schema"|2+1+1`,
		`credential|credential||"[ credential"|2+1+0`,
		`credential|credential|a|"a"|0+1+1`,
		`credential|credential|"b c"|"\"b c\""|1+3+1`,
		`uplink|uplink.http||"[[uplink.http"|0+1+0`,
		`uplink|uplink.http|list|"list"|0+4+0`,
		`uplink|uplink.http|table.dotted|"table.dotted"|0+3+0`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWhatStandsBehindEverythingBelongsToNothing(t *testing.T) {
	pieces, err := Pieces("p", []byte("a = 1\n# of a\n\n# of nothing"))
	if err != nil || len(pieces) != 2 || pieces[1].Table != "" || string(pieces[1].Before) != "\n# of nothing" {
		t.Errorf("%+v, %v", pieces, err)
	}
	if _, err := Pieces("p", []byte("a = 1\na = 2\n")); err == nil || !strings.HasPrefix(err.Error(), "p:2:") {
		t.Errorf("%v", err)
	}
}

// FuzzPiecesAreTheText puts texts together again. Nothing of a value may be in what is
// not its piece, so each piece alone, under its header, must be valid as well.
func FuzzPiecesAreTheText(f *testing.F) {
	for _, seed := range []string{"", "a = 1", "# c\n[x]\na=\"b\"\n#\n\n[[y.z]]\nq = '''\n\n# a'''\n", "a = [\n\n1]\r\nb.c = {d = \"e\"}\n\n#"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		pieces, err := Pieces("p", text)
		if err != nil {
			return
		}
		var all []byte
		for _, p := range pieces {
			if !bytes.HasPrefix(p.Body, p.Name) {
				t.Errorf("%q begins %q", p.Name, p.Body)
			}
			for _, text := range [][]byte{p.Before, p.Body, p.After} {
				all = append(all, text...)
			}
			if p.Body != nil {
				if d, tree := parse("piece", p.Body); tree == nil {
					t.Errorf("%q: %v", p.Body, d.Err())
				}
			}
			if d, tree := parse("comments", append(bytes.Clone(p.Before), p.After...)); len(tree) > 0 || tree == nil {
				t.Errorf("%q, %q: %v", p.Before, p.After, d.Err())
			}
		}
		if !bytes.Equal(all, bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))) {
			t.Errorf("%q became %q", text, all)
		}
	})
}

func TestAMapTakesWhateverKeysThereAre(t *testing.T) {
	var c struct {
		Credential map[string]string `toml:"credential"`
	}
	if err := Decode("m", []byte("[credential]\n\"a b\" = \"x\"\nc = ''\n"), &c).Err(); err != nil || len(c.Credential) != 2 || c.Credential["a b"] != "x" {
		t.Errorf("%v, %v", c, err)
	}
	for text, want := range map[string]string{
		"credential = \"hunter2\"":         "m:1:14: credential: is no table",
		"[credential]\na = 4711":           "m:2:5: credential.a: is no text",
		"[[credential]]\na = \"hunter2\"":  "m:1:3: credential: is no table",
		"[credential.deeper]\nb = \"c\"\n": "m:1:13: credential.deeper: is no text",
	} {
		err := Decode("m", []byte(text), &c).Err()
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "4711") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
