package decode

import (
	"math"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// how says how a field is read.
type how uint8

const (
	asNumber how = iota
	asText
	asKnots   // to m/s
	asKmh     // to m/s
	asMph     // to m/s
	asMiles   // nautical, to m
	asFeet    // to m
	asFathoms // to m
	asBar     // to Pa
	asMercury // inches of mercury, to Pa
	asTorr    // millimetres of mercury, to Pa
	asHectopascal
	asEastWest // degrees; west, which the next field says, is negative
	asLatitude // degrees and minutes; the next field says north or south
	asLongitude
	asValid // A for true, V for false
)

// factors turn a field into the unit that it is told in: times up, divided by
// down. Digits is how many more digits the result has.
var factors = map[how]struct{ up, down, digits uint64 }{
	asKnots:   {463, 900, 2}, // 1852 m an hour
	asKmh:     {5, 18, 2},
	asMph:     {1397, 3125, 2}, // 1609.344 m an hour
	asMiles:   {1852, 1, 0},
	asFeet:    {3048, 10_000, 4},
	asFathoms: {18_288, 10_000, 4},
	asBar:     {100_000, 1, 0},
	asMercury: {3_386_389, 1000, 3},
	asTorr:    {133_322, 1000, 3},

	asHectopascal: {100, 1, 0},
}

// maxConverted bounds the digits of numbers that are converted, so that nothing
// overflows.
const maxConverted = 1_000_000_000_000

// exactly reads a number for a conversion: mantissa and digits behind the
// point.
func (p *nmeaParser) exactly(i int) (n number, digits int, ok bool) {
	n, ok = p.parse(p.field(i))
	if !ok || n.cut || n.exponent > 0 || n.exponent < -9 || n.mantissa >= maxConverted {
		p.refuse(i, "is not a number")
		return n, 0, false
	}
	return n, -n.exponent, true
}

// converted returns field i in another unit, rounded to two digits more than
// the field has, if it is not exact anyway.
func (p *nmeaParser) converted(i int, by how) (v reading.Value, ok bool) {
	n, digits, ok := p.exactly(i)
	if !ok {
		return v, false
	}
	f := factors[by]
	up := f.up
	for range f.digits {
		up *= 10
	}
	scaled := (n.mantissa*(up/gcd(up, f.down)) + f.down/gcd(up, f.down)/2) / (f.down / gcd(up, f.down))
	x := float64(scaled) / math.Pow10(digits+int(f.digits))
	if n.negative {
		x = -x
	}
	return reading.Float(x), true
}

func gcd(a, b uint64) uint64 {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}

// angle reads degrees and minutes (ddmm.mm) in field i and the hemisphere in
// the next one, and rounds to three digits more than the minutes have, which is
// a twentieth of what they tell.
func (p *nmeaParser) angle(i int, most uint64, positive, negative byte) (v reading.Value, ok bool) {
	n, digits, ok := p.exactly(i)
	if !ok {
		return v, false
	}
	one := wholePower[digits] // a minute
	degrees, minutes := n.mantissa/one/100, n.mantissa%(100*one)
	if n.negative || minutes >= 60*one || degrees > most || degrees == most && minutes > 0 {
		p.refuse(i, "is no angle of degrees and minutes")
		return v, false
	}
	x := float64(degrees*one*1000+(minutes*1000+30)/60) / math.Pow10(digits+3)
	side := p.field(i + 1)
	if len(side) != 1 || side[0] != positive && side[0] != negative {
		p.refuse(i+1, "is no hemisphere")
		return v, false
	}
	if side[0] == negative {
		x = -x
	}
	return reading.Float(x), true
}

// eastWest reads degrees in field i whose sign is in the next one.
func (p *nmeaParser) eastWest(i int) (v reading.Value, ok bool) {
	if v, ok = p.number(p.field(i)); !ok {
		p.refuse(i, "is not a number")
		return v, false
	}
	switch side := string(p.field(i + 1)); side {
	case "E":
	case "W":
		v = reading.Float(-v.Float())
	default:
		p.refuse(i+1, "is neither E nor W")
		return v, false
	}
	return v, true
}

// timeOfDay reads hhmmss.sss in field i, in nanoseconds.
func (p *nmeaParser) timeOfDay(i int) (ns int64, ok bool) {
	text := p.field(i)
	if len(text) == 0 {
		return 0, false
	}
	if len(text) >= 6 && (len(text) == 6 || text[6] == '.') && skipDigits(text, 0) == 6 {
		h, _ := decimal(text[0:2])
		m, _ := decimal(text[2:4])
		s, _ := decimal(text[4:6])
		fraction := 0
		if len(text) > 6 {
			fraction = nanos(text[7:])
		}
		if h < 24 && m < 60 && s <= 60 && skipDigits(text, min(7, len(text))) == len(text) {
			return int64((h*60+m)*60+s)*int64(time.Second) + int64(fraction), true
		}
	}
	p.refuse(i, "is no time of day")
	return 0, false
}

// date reads ddmmyy in field i. GPS began in 1980.
func (p *nmeaParser) date(i int) (day time.Time, ok bool) {
	text := p.field(i)
	if len(text) == 0 {
		return day, false
	}
	if len(text) == 6 && skipDigits(text, 0) == 6 {
		d, _ := decimal(text[0:2])
		m, _ := decimal(text[2:4])
		y, _ := decimal(text[4:6])
		if y += 2000; y >= 2080 {
			y -= 100
		}
		if onCalendar(y, m, d) {
			return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC), true
		}
	}
	p.refuse(i, "is no date")
	return day, false
}

// dateParts reads day, month and year in three fields.
func (p *nmeaParser) dateParts(i int) (day time.Time, ok bool) {
	if len(p.field(i)) == 0 && len(p.field(i+2)) == 0 {
		return day, false
	}
	d, ok1 := decimal(p.field(i))
	m, ok2 := decimal(p.field(i + 1))
	y, ok3 := decimal(p.field(i + 2))
	if !ok1 || !ok2 || !ok3 || !onCalendar(y, m, d) {
		p.refuse(i, "does not begin a date")
		return day, false
	}
	return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC), true
}

// isTimeOfDay marks times that are still without a date, which are a day at the
// most, and one more so that midnight is not zero.
const isTimeOfDay = int64(24*time.Hour) + int64(time.Second) + 1

// dateTimesOfDay gives the times of day the date that brings them closest to
// the sentence that told a date, and leaves none without.
func (p *nmeaParser) dateTimesOfDay(out []reading.Reading) {
	for i := range out {
		r := &out[i]
		if r.Time == 0 || r.Time > isTimeOfDay {
			continue
		}
		at := r.Time - 1
		r.Time = 0
		if p.anchor.IsZero() {
			continue
		}
		midnight := p.anchor.Truncate(24 * time.Hour)
		dated := midnight.Add(time.Duration(at))
		if far := dated.Sub(p.anchor); far > 12*time.Hour {
			dated = dated.Add(-24 * time.Hour)
		} else if far < -12*time.Hour {
			dated = dated.Add(24 * time.Hour)
		}
		r.Time = sane(dated)
	}
}
