package conf

import "testing"

// scales is a configuration with floats.
type scales struct {
	Scale  float64   `toml:"scale"`
	Least  *float64  `toml:"least"`
	Most   *float64  `toml:"most"`
	Points []float64 `toml:"points"`
}

func TestFloatsTakeWholeNumbersToo(t *testing.T) {
	most := 7.0
	for text, want := range map[string]scales{
		"":                         {Scale: 1, Most: &most},
		"scale = 0.1":              {Scale: 0.1, Most: &most},
		"scale = 10":               {Scale: 10, Most: &most},
		"scale = -1e-3":            {Scale: -0.001, Most: &most},
		"scale = 1_000":            {Scale: 1000, Most: &most},
		"least = 0":                {Scale: 1, Least: new(float64), Most: &most},
		"least = 7.0":              {Scale: 1, Least: &most, Most: &most},
		`most = ""`:                {Scale: 1},
		"points = [1, 2.5]":        {Scale: 1, Most: &most, Points: []float64{1, 2.5}},
		"scale = 9007199254740993": {Scale: 9007199254740992, Most: &most},
	} {
		got := scales{Scale: 1, Most: &most}
		if err := Decode("s", []byte(text), &got).Err(); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		same := func(a, b *float64) bool { return a == b || a != nil && b != nil && *a == *b }
		if got.Scale != want.Scale || !same(got.Least, want.Least) || !same(got.Most, want.Most) || len(got.Points) != len(want.Points) {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
		for i, p := range want.Points {
			if got.Points[i] != p {
				t.Errorf("%s: %v", text, got.Points)
			}
		}
	}
}

func TestFloatsRefuseWithPlaceAndHint(t *testing.T) {
	const number = "write a number, for example 0.5; leave the key out if there is no limit"
	for text, want := range map[string]Problem{
		"scale = nan":        {Line: 1, Column: 9, Key: "scale", What: "NaN is no number", Hint: number},
		"scale = -inf":       {Line: 1, Column: 9, Key: "scale", What: "-Inf is no number", Hint: number},
		"least = inf":        {Line: 1, Column: 9, Key: "least", What: "+Inf is no number", Hint: number},
		`scale = "0.1"`:      {Line: 1, Column: 9, Key: "scale", What: `is the text "0.1"`, Hint: "write a number without quotes"},
		`least = true`:       {Line: 1, Column: 9, Key: "least", What: "is true", Hint: "write a number without quotes"},
		`points = [1, "2"]`:  {Line: 1, Column: 14, Key: "points[1]", What: `is the text "2"`, Hint: "write a number without quotes"},
		`scale = 2026-01-31`: {Line: 1, Column: 9, Key: "scale", What: "is a date or time", Hint: "write a number without quotes"},
	} {
		got := scales{Scale: 1}
		problems, ok := Decode("s", []byte(text), &got).Err().(Problems)
		want.File = "s"
		if !ok || len(problems) != 1 || problems[0] != want {
			t.Errorf("%s: %+v, want %+v", text, problems, want)
		}
		if got.Scale != 1 || got.Least != nil {
			t.Errorf("%s: changed the value to %+v", text, got)
		}
	}
}
