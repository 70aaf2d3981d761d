package conf

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDurationReadsWhatPeopleWrite(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "250ms": 250 * time.Millisecond, "30s": 30 * time.Second, "1h30m": 90 * time.Minute,
		"7d": 7 * day, "1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour, "1.5s": 1500 * time.Millisecond,
		"100000d": 100000 * day,
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if time.Duration(d) != want {
			t.Errorf("%s: got %v, want %v", text, time.Duration(d), want)
		}
	}
}

func TestDurationRefusesWithAHint(t *testing.T) {
	for text, want := range map[string]string{
		"5":              `"5" has no unit — hint: write "5s" or "5ms"`,
		"-5":             `"-5" has no unit — hint: write "-5s" or "-5ms"`,
		"":               `"" is not a duration — hint: write for example "30s", "1h30m" or "7d"`,
		"5 s":            `"5 s" is not a duration`,
		"d":              `"d" is not a duration`,
		"5d3":            `"5d3" is not a duration`,
		"1h2d":           `"1h2d" is not a duration`,
		"-5s":            `"-5s" is negative — hint: write a duration of "0s" or more`,
		"-1d":            `"-1d" is negative`,
		"1d-25h":         `"1d-25h" is negative`,
		"99999999d":      `"99999999d" is longer than a duration can be`,
		"106751d999h":    `"106751d999h" is longer than a duration can be`,
		"9999999999999h": `is not a duration`,
	} {
		d := Duration(7)
		err := d.UnmarshalText([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
		if d != 7 {
			t.Errorf("%q: changed the value to %v", text, d)
		}
	}
}

func TestDurationPrintsShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 250 * time.Millisecond: "250ms", time.Minute: "1m", time.Hour: "1h", 90 * time.Minute: "1h30m",
		7 * day: "7d", 36 * time.Hour: "36h", time.Hour + time.Second: "1h0m1s", 10 * time.Minute: "10m",
	} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestSizeReadsWhatPeopleWrite(t *testing.T) {
	for text, want := range map[string]Size{
		"0B": 0, "1B": 1, "512MiB": 512 * MiB, "512mib": 512 * MiB, "4GB": 4e9, "64k": 64000, "64K": 64000,
		"64Ki": 64 * KiB, "1.5 GiB": 1536 * MiB, "2TiB": 2 * TiB, "+1kB": 1000,
		"9223372036854775807B": math.MaxInt64, "8388607TiB": 8388607 * TiB,
	} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if s != want {
			t.Errorf("%s: got %d, want %d", text, s, want)
		}
	}
}

func TestSizeRefusesWithAHint(t *testing.T) {
	for text, want := range map[string]string{
		"512":                  `"512" has no unit — hint: write "512MiB" or "512B"`,
		"":                     `"" is not a size — hint: write for example "256KiB", "64MiB" or "4GB"`,
		"MiB":                  `"MiB" is not a size`,
		"5 parsecs":            `"5 parsecs" is not a size`,
		"1.2.3MB":              `"1.2.3MB" is not a size`,
		"-1MiB":                `"-1MiB" is negative — hint: write a size of "0B" or more`,
		"8388608TiB":           `"8388608TiB" is larger than a size can be`,
		"9223372036854775808B": `"9223372036854775808B" is larger than a size can be`,
		"9e9MB":                `"9e9MB" is not a size`,
	} {
		s := Size(7)
		err := s.UnmarshalText([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
		if s != 7 {
			t.Errorf("%q: changed the value to %v", text, s)
		}
	}
}

func TestSizePrintsExactlyAndApproximately(t *testing.T) {
	for s, want := range map[Size][2]string{
		0:               {"0B", "0B"},
		1000:            {"1kB", "1000B"},
		1536:            {"1536B", "1.5KiB"},
		512 * MiB:       {"512MiB", "512.0MiB"},
		4e9:             {"4GB", "3.7GiB"},
		2 * TiB:         {"2TiB", "2.0TiB"},
		1000 * 1024:     {"1000KiB", "1000.0KiB"},
		math.MaxInt64:   {"9223372036854775807B", "8388608.0TiB"},
		3 * 1000 * 1000: {"3MB", "2.9MiB"},
	} {
		if got := s.String(); got != want[0] {
			t.Errorf("%d: String is %s, want %s", s, got, want[0])
		}
		if got := s.Approx(); got != want[1] {
			t.Errorf("%d: Approx is %s, want %s", s, got, want[1])
		}
	}
}

func FuzzDurationTextRoundTrips(f *testing.F) {
	f.Add("7d")
	f.Add("1h30m")
	f.Add("-5")
	f.Fuzz(func(t *testing.T, text string) {
		var d, again Duration
		if d.UnmarshalText([]byte(text)) != nil {
			return
		}
		if d < 0 {
			t.Fatalf("%q became %d", text, d)
		}
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Fatalf("%q: %v, %v, %v", text, d, again, err)
		}
	})
}

func FuzzSizeTextRoundTrips(f *testing.F) {
	f.Add("512MiB")
	f.Add("1.5 GB")
	f.Add("-5")
	f.Fuzz(func(t *testing.T, text string) {
		var s, again Size
		if s.UnmarshalText([]byte(text)) != nil {
			return
		}
		if s < 0 {
			t.Fatalf("%q became %d", text, s)
		}
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Fatalf("%q: %v, %v, %v", text, s, again, err)
		}
	})
}

func TestSecretNeverShowsItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("\xef\xbb\xbfhunter2\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret, err := ReadSecret(path)
	if err != nil {
		t.Fatal(err)
	}
	if secret.Reveal() != "hunter2" {
		t.Errorf("Reveal: %q", secret.Reveal())
	}
	holder := struct{ Token Secret }{secret}
	text, err := json.Marshal(holder)
	if err != nil || string(text) != `{"Token":"***"}` {
		t.Errorf("JSON: %s, %v", text, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{secret, &secret, holder, &holder} {
			if shown := fmt.Sprintf(verb, v); strings.Contains(shown, "hunter2") || strings.Contains(shown, "68756e74657232") {
				t.Errorf("%s of %T shows %s", verb, v, shown)
			}
		}
	}
	if shown := fmt.Sprint(Secret{}); shown != "" {
		t.Errorf("no secret shows %q", shown)
	}
}

func TestSecretFilesThatAreMistakes(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"empty":     {"\n", "is empty"},
		"two lines": {"a\nb\n", "more than one line"},
		"a log":     {strings.Repeat("x", MaxSecretBytes+1), "larger than 64KiB"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSecret(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := ReadSecret(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if secret, err := ReadSecretIf(""); err != nil || !secret.IsZero() {
		t.Errorf("of no file: %v, %v", secret, err)
	}
	if _, err := ReadSecretIf(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a file that is not there: %v", err)
	}
}
