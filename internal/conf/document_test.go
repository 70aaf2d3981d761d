package conf

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// house is a configuration with one field of every kind.
type house struct {
	Name    string    `toml:"name"`
	Floors  int       `toml:"floors"`
	Small   int8      `toml:"small"`
	Lit     bool      `toml:"lit"`
	Heating Duration  `toml:"heating"`
	Cellar  *Size     `toml:"cellar"`
	Door    *Duration `toml:"door"`
	Colours []string  `toml:"colours"`
	Garden  garden    `toml:"garden"`
	roof
	Rooms []room `toml:"room"`
}

// roof is embedded: its key is one of the house.
type roof struct {
	Tiles int `toml:"tiles"`
}

type garden struct {
	Trees int `toml:"trees"`
}

type room struct {
	Name    string  `toml:"name"`
	Windows int     `toml:"windows"`
	Shelves []shelf `toml:"shelf"`
}

type shelf struct {
	Books int `toml:"books"`
}

func (r *room) SetDefaults() { r.Windows = 2 }

func problemsOf(t *testing.T, text string) Problems {
	t.Helper()
	var problems Problems
	if err := Decode("h", []byte(text), &house{}).Err(); !errors.As(err, &problems) {
		t.Fatalf("%q: %v", text, err)
	}
	return problems
}

func TestEveryKindOfFieldIsFilled(t *testing.T) {
	h := house{Floors: 3}
	doc := Decode("h", []byte(`
name = "villa"
small = -128
lit = true
heating = "1h30m"
cellar = "4GB"
door = ""
colours = ["red", "green"]
garden.trees = 7
tiles = 900

[[room]]
name = "kitchen"
[[room.shelf]]
books = 1
[[room.shelf]]
books = 2
[[room]]
windows = 0
`), &h)
	if err := doc.Err(); err != nil {
		t.Fatal(err)
	}
	cellar := Size(4e9)
	want := house{
		Name: "villa", Floors: 3, Small: -128, Lit: true, Heating: Duration(90 * time.Minute), Cellar: &cellar,
		Colours: []string{"red", "green"}, Garden: garden{7}, roof: roof{900},
		Rooms: []room{{Name: "kitchen", Windows: 2, Shelves: []shelf{{1}, {2}}}, {}},
	}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("got %+v\nwant %+v", h, want)
	}
}

func TestWhatTheFileDoesNotSayKeepsItsValue(t *testing.T) {
	door := Duration(time.Second)
	h := house{Name: "villa", Lit: true, Door: &door, Garden: garden{3}}
	want := h
	if err := Decode("h", []byte("[garden]\n"), &h).Err(); err != nil || !reflect.DeepEqual(h, want) {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestWhatIsRefusedKeepsItsValue(t *testing.T) {
	h := house{Name: "villa", Floors: 3, Heating: 5}
	want := h
	doc := Decode("h", []byte("name = 1\nfloors = \"2\"\nheating = \"soon\"\n"), &h)
	if doc.Err() == nil || !reflect.DeepEqual(h, want) {
		t.Errorf("%+v, %v", h, doc.Err())
	}
}

// Places must be right however a key is written.
func TestProblemsStandWhereTheirValueStands(t *testing.T) {
	for text, want := range map[string]string{
		"floors = \"x\"":                                         "1:10 floors",
		"# a\n\n  floors   =   \"x\"":                            "3:16 floors",
		"\ufefffloors = \"x\"":                                   "1:10 floors",
		"name = \"ü\"\ngarden = { trees = \"ü\" }":               "2:20 garden.trees",
		"garden.trees = true":                                    "1:16 garden.trees",
		"[garden]\ntrees = true":                                 "2:9 garden.trees",
		"[ \"garden\" ]\n'trees' = true":                         "2:11 garden.trees",
		"[[room]]\n[[room]]\nname = 1":                           "3:8 room[1].name",
		"[[room]]\n[[room.shelf]]\n[[room.shelf]]\nbooks = \"\"": "4:9 room[0].shelf[1].books",
		"[[room]]\n[[room]]\n[[room.shelf]]\nbooks = \"\"":       "4:9 room[1].shelf[0].books",
		"room = [{}, {name = 1}]":                                "1:21 room[1].name",
		"room = [\n  {},\n  {name = 1},\n]":                      "3:11 room[1].name",
		"colours = [\"red\", 5]":                                 "1:19 colours[1]",
		"colours = [\"red\", []]":                                "1:1 colours[1]",
		"é = 1":                                                  "1:1 ",
		"\"é\" = 1":                                              `1:1 "é"`,
		"name = \"é\" # é\n\"é\" = 1":                            `2:1 "é"`,
		"[attic]\nold = 1":                                       "1:2 attic",
		"[attic.box]\nold = 1":                                   "1:2 attic",
		"small = 128":                                            "1:9 small",
	} {
		ps := problemsOf(t, text)
		if got := fmt.Sprintf("%d:%d %s", ps[0].Line, ps[0].Column, ps[0].Key); len(ps) != 1 || got != want {
			t.Errorf("%q: got %s, want %s: %v", text, got, want, ps)
		}
	}
}

func TestValidationFindsPlacesToo(t *testing.T) {
	doc := Decode("h", []byte("name = \"a\"\n[[room]]\nname = \"b\"\n"), &house{})
	doc.Refuse("room[0].name", "rename it", "%q is taken", "b")
	doc.Refuse("room[0].windows", "write one", "is missing")
	doc.Refuse("garden.trees", "plant one", "is missing")
	doc.Refuse("name", "", "is short")
	doc.Refuse("name", "", "is ugly, too")
	want := `h: garden.trees: is missing
    hint: plant one
h:1:8: name: is short
h:2:3: room[0].windows: is missing
    hint: write one
h:3:8: room[0].name: "b" is taken
    hint: rename it`
	if got := doc.Err().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestOneFaultCausesOneProblem(t *testing.T) {
	doc := Decode("h", []byte("nmae = \"a\"\nroom = [5]\n"), &house{})
	doc.Refuse("name", "", "is missing")
	doc.Refuse("room[0].name", "", "is missing")
	if ps := doc.Err().(Problems); len(ps) != 2 {
		t.Errorf("%v", ps)
	}
}

// The typo must not hide what is wrong with the table that is there as well.
func TestATypoHidesNothingElse(t *testing.T) {
	doc := Decode("h", []byte("[gardne]\n[garden]\ntrees = -1\n"), &house{})
	doc.Refuse("garden.trees", "", "is negative")
	if ps := doc.Err().(Problems); len(ps) != 2 {
		t.Errorf("%v", ps)
	}
}

func TestKeysAreExactInTheirLetterCase(t *testing.T) {
	ps := problemsOf(t, "name = \"a\"\nName = \"b\"\nNAME = \"c\"\n")
	if len(ps) != 2 || ps[0].Key != "Name" || ps[0].Hint != `did you mean "name"?` || ps[1].Key != "NAME" {
		t.Errorf("%v", ps)
	}
}

func TestHugeTextsAreRefusedUnread(t *testing.T) {
	ps := problemsOf(t, strings.Repeat("#", MaxBytes+1))
	if len(ps) != 1 || !strings.Contains(ps[0].What, "larger than 1MiB") {
		t.Errorf("%v", ps)
	}
}

// Paths grow with the depth: without a bound, these cost the square of their
// size: what they take is memory, of which a busy machine does not change the amount.
func TestDeepNestingIsCheap(t *testing.T) {
	const n = 9000
	for _, text := range []string{
		"colours = " + strings.Repeat("[", n) + strings.Repeat("]", n),
		"garden = " + strings.Repeat("{a=", n) + "1" + strings.Repeat("}", n),
		strings.Repeat("a.", n) + "b = 1",
		"[" + strings.Repeat("a.", n) + "b]\n" + strings.Repeat("b.", n) + "c = 1",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		ps := problemsOf(t, text)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 40<<20 {
			t.Errorf("%.20s...: took %d bytes", text, took)
		}
		if message := ps.Error(); len(message) > 1000 {
			t.Errorf("%.20s...: %d bytes of message", text, len(message))
		}
	}
}

func TestManyProblemsAreCutShort(t *testing.T) {
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "key%d = 1\n", i)
	}
	ps := problemsOf(t, text.String())
	if len(ps) != 100 {
		t.Fatalf("%d problems", len(ps))
	}
	message := ps.Error()
	if !strings.HasSuffix(message, "\n... and 80 more") || strings.Count(message, "unknown key") != 20 {
		t.Errorf("%s", message)
	}
}

func TestSuggestionsAreWhatWasMeantOrEverything(t *testing.T) {
	known := []string{"listen", "max_packet", "max_clients", "s", "ms"}
	for word, want := range map[string]string{
		"lisetn":                 `did you mean "listen"?`,
		"Listen":                 `did you mean "listen"?`,
		"max_client":             `did you mean "max_clients"?`,
		"maxpackets":             `did you mean "max_packet"?`,
		"sm":                     `did you mean "s"?`,
		"colour":                 "write one of: listen, max_packet, max_clients, s, ms",
		strings.Repeat("x", 100): "write one of: listen, max_packet, max_clients, s, ms",
	} {
		if got := Suggest(word, known); got != want {
			t.Errorf("%s: got %s, want %s", word, got, want)
		}
	}
}

func TestDistanceCountsEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "acb", 1}, {"abcd", "badc", 2},
		{"kitten", "sitting", 3}, {"ca", "abc", 3},
	} {
		if got, back := distance(c.a, c.b), distance(c.b, c.a); got != c.want || back != c.want {
			t.Errorf("%s, %s: %d and %d, want %d", c.a, c.b, got, back, c.want)
		}
	}
}

func FuzzDecodeNeverPanicsAndKnowsThePlace(f *testing.F) {
	for _, text := range []string{
		"", "name = \"a\"", "[[room]]\nname = 1\n[[room.shelf]]\nbooks = 2", "room = [{}, {a.b = [1, {}]}]",
		"\"\" = 1", "[a.\"b.c\"]\nd = '''\nx'''", "heating = 5\ncellar = \"\"", "\xef\xbb\xbfx = 1", "garden = 2026-11-20",
		"floors = 99999999999\nsmall = 1e3\nlit = nan",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var problems Problems
		err := Decode("fuzz", text, &house{}).Err()
		if err == nil {
			return
		}
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("%T %v", err, err)
		}
		lines := strings.Split(string(text), "\n")
		for _, p := range problems {
			if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > len(lines[p.Line-1])+1 {
				t.Fatalf("%+v is nowhere in %q", p, text)
			}
			if p.What == "" || strings.ContainsAny(p.Key+p.What, "\n\x1b") {
				t.Fatalf("%+v", p)
			}
		}
	})
}
