package conf

import (
	"reflect"
	"strings"
	"testing"
)

type shown struct {
	Name   string   `toml:"name"`
	Secret string   `toml:"secret"`
	Many   []string `toml:"many"`
	Ratio  float64  `toml:"ratio"`
	Number int      `toml:"number"`
	Room   Size     `toml:"room"`
	Wait   *Size    `toml:"wait"`
	Raw    Bytes    `toml:"raw"`
	On     bool     `toml:"on"`
	Inner  inner    `toml:"inner"`
	List   []inner  `toml:"list"`
	Maybe  *inner   `toml:"maybe"`
}

type inner struct {
	Text  string `toml:"text"`
	Still string `toml:"still"`
	Deep  []deep `toml:"deep"`
}

type deep struct {
	N int `toml:"n"`
}

// SetDefaults makes i what an empty table would be.
func (i *inner) SetDefaults() { *i = inner{Still: "usual"} }

func TestWhatIsShownMeansTheSame(t *testing.T) {
	room := 4 * KiB
	config := shown{
		Name: "a \"b\" \\ \n\x7f é", Secret: "hush", Many: []string{"x", "y"}, Ratio: 2, Number: -3, Room: 64 * MiB, Wait: &room,
		Raw: Bytes("\x01\x02"), On: true, Inner: inner{Text: "t"},
		List:  []inner{{Text: "1", Still: "usual"}, {Still: "other", Deep: []deep{{1}, {2}}}},
		Maybe: &inner{Text: "m"},
	}
	change := func(key, text string) string {
		if key == "secret" {
			return "***"
		}
		return text
	}
	text := Show(config, shown{Many: []string{"z"}}, change)
	var again shown
	if err := Decode("shown", text, &again).Err(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	config.Secret = "***"
	if !reflect.DeepEqual(again, config) {
		t.Errorf("got  %+v\nwant %+v\n%s", again, config, text)
	}
	if strings.Contains(string(text), `still = "usual"`) {
		t.Errorf("defaults are shown:\n%s", text)
	}
	if text := Show(shown{}, shown{}, change); len(text) != 0 {
		t.Errorf("nothing is shown as %q", text)
	}
}
