package decode

import (
	"fmt"
	"strings"
	"time"
)

// timeReader reads times as a TextConfig says. It never changes.
type timeReader struct {
	unit   TimeUnit
	layout string         // Go's; empty for numbers and ISO 8601
	zone   *time.Location // of times that tell none
}

// maxTimeText bounds the texts that are tried as times.
const maxTimeText = 64

func newTimeReader(cfg TextConfig) (timeReader, error) {
	t := timeReader{unit: cfg.TimeUnit, zone: time.UTC}
	var err error
	if cfg.TimeZone != "" {
		if t.zone, err = parseZone(cfg.TimeZone); err != nil {
			return t, err
		}
	}
	if cfg.TimeFormat == "" {
		return t, nil
	}
	if cfg.TimeUnit != GuessUnit {
		return t, fmt.Errorf("time_unit and time_format are both set — hint: time_unit is for times that are numbers, time_format for those that are texts")
	}
	t.layout = cfg.TimeFormat
	if strings.Contains(cfg.TimeFormat, "%") {
		if t.layout, err = strftime(cfg.TimeFormat); err != nil {
			return t, err
		}
	}
	return t, checkLayout(cfg.TimeFormat, t.layout)
}

// parseZone takes offsets and the names of the zone database.
func parseZone(name string) (*time.Location, error) {
	if t, err := time.Parse("-07:00", name); err == nil {
		_, offset := t.Zone()
		return time.FixedZone(name, offset), nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("time_zone %q: %w — hint: an offset such as \"+02:00\", or a name such as \"Europe/Berlin\", for which the package tzdata must be installed", name, err)
	}
	return zone, nil
}

// checkLayout refuses layouts that lose what a time needs, by writing a time
// and reading it back.
func checkLayout(format, layout string) error {
	sample := time.Date(2033, time.November, 29, 22, 47, 53, 0, time.UTC)
	if strings.Contains(layout, "MST") {
		return fmt.Errorf("time_format %q has the abbreviation of a zone, and those are not unique — hint: leave it to time_zone, or use %%z (-0700)", format)
	}
	got, err := time.Parse(layout, sample.Format(layout))
	if err != nil {
		return fmt.Errorf("time_format %q cannot be read back: %w — hint: put something between its parts", format, err)
	}
	if got.Year() != sample.Year() || got.YearDay() != sample.YearDay() {
		return fmt.Errorf("time_format %q tells no date — hint: it needs year, month and day, such as \"2006-01-02 15:04:05\" or \"%%Y-%%m-%%d %%H:%%M:%%S\"", format)
	}
	if h := got.Hour(); h != sample.Hour() && h != 0 {
		return fmt.Errorf("time_format %q does not tell morning from evening — hint: add %%p (PM), or use %%H (15)", format)
	}
	return nil
}

// directives are strftime's, in Go's notation.
var directives = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'j': "002",
	'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM",
	'b': "Jan", 'h': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday",
	'z': "-0700", 'Z': "MST", 'f': "999999999",
	'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", '%': "%",
}

// strftime turns strftime's notation into Go's. What stands between the
// directives must not look like a part of Go's notation, so letters other than
// T and Z and digits are refused.
func strftime(format string) (string, error) {
	var layout strings.Builder
	for i := 0; i < len(format); i++ {
		c := format[i]
		if c != '%' {
			if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' && c != 'T' && c != 'Z' {
				return "", fmt.Errorf("time_format %q has %q between its parts — hint: only T, Z, blanks and punctuation may stand there", format, c)
			}
			layout.WriteByte(c)
			continue
		}
		i++
		if i == len(format) {
			return "", fmt.Errorf("time_format %q ends with %% — hint: write %%%% for the character itself", format)
		}
		part, ok := directives[format[i]]
		if format[i] == 's' {
			return "", fmt.Errorf("time_format %q has %%s — hint: for seconds since 1970 leave time_format out and set time_unit = \"s\"", format)
		}
		if !ok {
			return "", fmt.Errorf("time_format %q has %%%c, which is not known — hint: known are %%Y %%y %%m %%d %%e %%j %%H %%I %%M %%S %%f %%p %%b %%B %%a %%A %%z %%F %%T %%R %%D", format, format[i])
		}
		so := layout.String()
		if format[i] == 'f' && !strings.HasSuffix(so, "05.") && !strings.HasSuffix(so, "05,") {
			return "", fmt.Errorf("time_format %q has %%f where no seconds end — hint: %%S.%%f", format)
		}
		if format[i] == 'e' && strings.HasSuffix(so, "_") {
			return "", fmt.Errorf("time_format %q has _ before %%e — hint: %%d", format)
		}
		layout.WriteString(part)
	}
	return layout.String(), nil
}

// read reads a time. ok is false if text is no time at all; ns is zero for a
// time that no clock that was set can show, see plausible.
func (t *timeReader) read(text []byte) (ns int64, ok bool) {
	if len(text) > maxTimeText {
		return 0, false
	}
	if t.layout != "" {
		at, err := time.ParseInLocation(t.layout, string(text), t.zone)
		if err != nil {
			return 0, false
		}
		return sane(at), true
	}
	if n, rest, ok := parseNumber(text); ok && len(rest) == 0 {
		ns, _ = n.time(t.unit)
		return ns, true
	}
	return isoTime(text, t.zone)
}

// sane returns the time in nanoseconds, zero if it is not plausible.
func sane(at time.Time) int64 {
	if s := at.Unix(); s < earliest/int64(time.Second) || s >= latest/int64(time.Second) {
		return 0 // beyond 1678 to 2262, UnixNano is undefined
	}
	return at.UnixNano()
}

// isoTime reads a date and a time of day in the extended format of ISO 8601:
// 2006-01-02T15:04:05.999+02:00. A blank may stand for the T and slashes for the
// dashes; seconds may be left out, and the zone, which is zone then.
func isoTime(text []byte, zone *time.Location) (ns int64, ok bool) {
	if len(text) < len("2006-01-02T15:04") {
		return 0, false
	}
	year, ok1 := decimal(text[0:4])
	month, ok2 := decimal(text[5:7])
	day, ok3 := decimal(text[8:10])
	hour, ok4 := decimal(text[11:13])
	minute, ok5 := decimal(text[14:16])
	dash, t := text[4], text[10]
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || dash != '-' && dash != '/' || text[7] != dash ||
		t != 'T' && t != 't' && t != ' ' || text[13] != ':' {
		return 0, false
	}
	second, fraction, rest, ok := isoSeconds(text[16:])
	if !ok || !onCalendar(year, month, day) || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	offset, told, ok := isoZone(rest)
	if !ok {
		return 0, false
	}
	if told {
		at := time.Date(year, time.Month(month), day, hour, minute, second, fraction, time.UTC)
		return sane(at.Add(-time.Duration(offset) * time.Minute)), true
	}
	return sane(time.Date(year, time.Month(month), day, hour, minute, second, fraction, zone)), true
}

// isoSeconds reads ":05" with or without a fraction, which may be left out.
func isoSeconds(text []byte) (second, fraction int, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != ':' {
		return 0, 0, text, true
	}
	if len(text) < 3 {
		return 0, 0, text, false
	}
	second, ok = decimal(text[1:3])
	text = text[3:]
	if len(text) < 2 || text[0] != '.' && text[0] != ',' {
		return second, 0, text, ok
	}
	end := skipDigits(text, 1)
	return second, nanos(text[1:end]), text[end:], ok && end > 1
}

// nanos reads the digits behind the point of a number of seconds. What is finer
// than a nanosecond is cut off.
func nanos(digits []byte) int {
	n := 0
	for i := range 9 {
		n *= 10
		if i < len(digits) {
			n += int(digits[i] - '0')
		}
	}
	return n
}

// isoZone reads "", "Z", "+02", "+0200" or "+02:00", in minutes.
func isoZone(text []byte) (offset int, told, ok bool) {
	if len(text) == 0 {
		return 0, false, true
	}
	if len(text) == 1 && text[0]|0x20 == 'z' {
		return 0, true, true
	}
	sign := 1
	switch text[0] {
	case '-':
		sign = -1
	case '+':
	default:
		return 0, false, false
	}
	text = text[1:]
	if len(text) == 5 && text[2] == ':' {
		text = append(append(make([]byte, 0, 4), text[:2]...), text[3:]...)
	}
	hours, ok := decimal(text[:min(2, len(text))])
	minutes := 0
	if len(text) == 4 {
		var more bool
		minutes, more = decimal(text[2:])
		ok = ok && more
	} else if len(text) != 2 {
		return 0, false, false
	}
	return sign * (hours*60 + minutes), true, ok && hours < 24 && minutes < 60
}

// decimal reads up to nine digits.
func decimal(digits []byte) (n int, ok bool) {
	for _, c := range digits {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, len(digits) > 0 && len(digits) <= 9
}

// onCalendar says whether there is such a day.
func onCalendar(year, month, day int) bool {
	if month < 1 || month > 12 || day < 1 {
		return false
	}
	return day <= time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
