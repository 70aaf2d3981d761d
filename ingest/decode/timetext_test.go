package decode

import (
	"testing"
	"time"
)

func TestTimesInISO8601(t *testing.T) {
	const at = 1_700_000_000_000_000_000 // 2023-11-14T22:13:20Z
	const hour = int64(time.Hour)
	berlin := time.FixedZone("", 3600)
	for _, c := range []struct {
		text string
		want int64 // 0: not plausible, -1: not a time
	}{
		{"2023-11-14T22:13:20Z", at},
		{"2023-11-14t22:13:20z", at},
		{"2023-11-14T22:13:20.25Z", at + 250_000_000},
		{"2023-11-14T22:13:20,25Z", at + 250_000_000},
		{"2023-11-14T22:13:20.1234567899Z", at + 123_456_789},
		{"2023-11-14T22:13Z", at - 20e9},
		{"2023-11-14T23:13:20+01:00", at},
		{"2023-11-14T23:13:20+0100", at},
		{"2023-11-14T23:13:20+01", at},
		{"2023-11-14T16:43:20-05:30", at},
		{"2023-11-14 23:13:20", at},
		{"2023-11-14T23:13:20", at},
		{"2023/11/14 23:13:20", at},
		{"2023-11-14 23:13", at - 20e9},
		{"2024-02-29T00:00:00Z", at + 106*24*hour + hour + 46*60e9 + 40e9},
		{"2023-02-29T00:00:00Z", -1},
		{"2023-00-10T00:00:00Z", -1},
		{"2023-11-31T00:00:00Z", -1},
		{"2023-11-14T24:00:00Z", -1},
		{"2023-11-14T22:60:00Z", -1},
		{"2023-11-14T22:13:60Z", -1},
		{"2023-11/14 22:13:20", -1},
		{"2023-11-14_22:13:20", -1},
		{"2023-11-14T22:13:20.Z", -1},
		{"2023-11-14T22:13:20+1", -1},
		{"2023-11-14T22:13:20+01:0", -1},
		{"2023-11-14T22:13:20+24:00", -1},
		{"2023-11-14T22:13:20+01:00x", -1},
		{"2023-11-14T22:13:2", -1},
		{"2023-11-14T22", -1},
		{"2023-11-14", -1},
		{"yesterday at noon", -1},
		{"1970-01-01T00:00:10Z", 0},
		{"9999-01-01T00:00:10Z", 0},
		{"0000-01-01T00:00:10Z", 0},
	} {
		got, ok := isoTime([]byte(c.text), berlin)
		if !ok {
			got = -1
		}
		if got != c.want {
			t.Errorf("%s: got %d, want %d", c.text, got, c.want)
		}
	}
}

// FuzzISOTime compares with time.Time, whose RFC 3339 is a part of ISO 8601.
func FuzzISOTime(f *testing.F) {
	f.Add("2023-11-14T22:13:20.25+01:00")
	f.Fuzz(func(t *testing.T, text string) {
		want, err := time.Parse(time.RFC3339, text)
		if err != nil || want.Format(time.RFC3339Nano) != text {
			return // time.Parse takes more than RFC 3339
		}
		if got, ok := isoTime([]byte(text), time.UTC); !ok || got != sane(want) {
			t.Fatalf("%s: got %d, %v, want %d", text, got, ok, sane(want))
		}
	})
}

func TestFormatsOfTimesReadWhatTheyWrite(t *testing.T) {
	at := time.Date(2023, time.November, 4, 22, 13, 20, 0, time.UTC)
	for format, text := range map[string]string{
		"%Y-%m-%d %H:%M:%S":        "2023-11-04 22:13:20",
		"%Y-%m-%dT%H:%M:%SZ":       "2023-11-04T22:13:20Z",
		"%d.%m.%Y %H:%M:%S":        "04.11.2023 22:13:20",
		"%d.%m.%y %T":              "04.11.23 22:13:20",
		"%D %T":                    "11/04/23 22:13:20",
		"%F %T":                    "2023-11-04 22:13:20",
		"%Y%m%d%H%M%S":             "20231104221320",
		"%y%m%d,%H%M%S":            "231104,221320",
		"%e %b %Y %T":              " 4 Nov 2023 22:13:20",
		"%A, %d %B %Y %I:%M:%S %p": "Saturday, 04 November 2023 10:13:20 PM",
		"%Y %j %T":                 "2023 308 22:13:20",
		"%F %T %z":                 "2023-11-04 23:13:20 +0100",
		"%F %T.%f":                 "2023-11-04 22:13:20.000",
		"%F_%H-%M-%S":              "2023-11-04_22-13-20",
		"%%%F%% %T":                "%2023-11-04% 22:13:20",
		"02/01/2006 15:04:05":      "04/11/2023 22:13:20",
		"Jan _2 15:04:05 2006":     "Nov  4 22:13:20 2023",
		time.RFC1123Z:              "Sat, 04 Nov 2023 22:13:20 +0000",
	} {
		r, err := newTimeReader(TextConfig{TimeFormat: format})
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		if ns, ok := r.read([]byte(text)); !ok || ns != at.UnixNano() {
			t.Errorf("%s reads %s as %s, %v", format, text, time.Unix(0, ns).UTC(), ok)
		}
	}
	for _, format := range []string{"%", "%Y", "15:04", "2006-01-02 03:04", "%F %T %Z", "2006-01-02 15:04 MST", "at %F", "%_%e", "abc", "%Y-%m-%d %f", "2006-02 15:04"} {
		if _, err := newTimeReader(TextConfig{TimeFormat: format}); err == nil {
			t.Errorf("%s is taken", format)
		}
	}
}

// TestTheClocksOfAZoneAreChanged reads local times on both sides of the change
// to summer time.
func TestTheClocksOfAZoneAreChanged(t *testing.T) {
	r, err := newTimeReader(TextConfig{TimeZone: "Europe/Berlin"})
	if err != nil {
		t.Skipf("no zone database (tzdata): %v", err)
	}
	for text, want := range map[string]string{
		"2024-03-31 01:59:59": "2024-03-31T00:59:59Z",
		"2024-03-31 03:00:00": "2024-03-31T01:00:00Z",
		"2024-07-01 12:00:00": "2024-07-01T10:00:00Z",
	} {
		ns, ok := r.read([]byte(text))
		if got := time.Unix(0, ns).UTC().Format(time.RFC3339); !ok || got != want {
			t.Errorf("%s: got %s, %v, want %s", text, got, ok, want)
		}
	}
}
