package decode

import (
	"bytes"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// clockOf returns the time of the sentence at hand: one with a date, a time of
// day that dateTimesOfDay will date, or zero. The tag block counts where the
// sentence itself does not tell everything.
func (p *nmeaParser) clockOf(s sentence) int64 {
	if s.clock == 0 {
		return p.tagged
	}
	at, ok := p.timeOfDay(s.clock)
	if !ok {
		return p.tagged
	}
	var day time.Time
	dated := false
	if s.date > 0 {
		day, dated = p.date(s.date)
	} else if string(p.address[2:]) == "ZDA" {
		day, dated = p.dateParts(2)
	}
	if dated {
		instant := day.Add(time.Duration(at))
		ns := sane(instant)
		if ns != 0 {
			p.anchor = instant
		}
		return ns
	}
	if p.tagged != 0 {
		return p.tagged
	}
	return at + 1
}

// clock adds the time itself, which is all that ZDA tells.
func (p *nmeaParser) clock(at int64) {
	if at > isTimeOfDay {
		p.add("clock", "s", reading.Float(float64(at/1e9)+float64(at%1e9)/1e9))
	}
}

// wind takes MWV: angle, reference, speed, its unit, status.
func (p *nmeaParser) wind() {
	of := "wind.apparent."
	switch reference := string(p.field(2)); reference {
	case "R":
	case "T":
		of = "wind.true."
	default:
		if p.count > 1 && len(p.field(1))+len(p.field(3)) > 0 {
			p.refuse(2, "is neither R nor T")
		}
		return
	}
	speed := item{at: 3, metric: of + "speed", unit: "m/s"}
	switch unit := string(p.field(4)); unit {
	case "M":
	case "N":
		speed.how = asKnots
	case "K":
		speed.how = asKmh
	case "S":
		speed.how = asMph
	case "":
		speed.at = maxFields // nobody knows what the number means
	default:
		p.refuse(4, "is none of K, M, N and S")
		return
	}
	if speed.at == maxFields && len(p.field(3)) > 0 {
		p.refuse(4, "is no unit of the speed")
		return
	}
	p.items([]item{{at: 1, metric: of + "angle", unit: "deg"}, speed})
}

// inView takes GSV: how many satellites of one system are in view, from the
// first sentence of each series.
func (p *nmeaParser) inView() {
	if string(trimZeros(p.field(2))) != "1" || len(p.field(3)) == 0 {
		return
	}
	v, ok := p.number(p.field(3))
	if !ok {
		p.refuse(3, "is not a number")
		return
	}
	var room [32]byte
	name := appendLower(append(room[:0], "satellites.in_view."...), p.address[:2])
	p.add(p.names.find(name).name, "", v)
}

func trimZeros(digits []byte) []byte { return bytes.TrimLeft(digits, "0") }

// transducer is what type and unit of a transducer mean.
type transducer struct {
	metric string // for those without a name, and those with a number for one
	unit   string
	how    how
}

// transducers are the types of XDR and their units, as in "C" for temperature
// and "C" for degrees Celsius. S with a unit, Z and pressures in H, I and M are
// what weather stations of Vaisala add to the standard. A letter that is not here
// is no unit: the H of a pressure is none of a henry.
var transducers = map[string]transducer{
	"A": {metric: "angle"}, "AD": {unit: "deg"},
	"B": {metric: "humidity.absolute"}, "BK": {unit: "kg/m3"},
	"C": {metric: "temp"}, "CC": {unit: "Cel"}, "CK": {unit: "K"}, "CF": {unit: "degF"},
	"D": {metric: "displacement"}, "DM": {unit: "m"},
	"F": {metric: "frequency"}, "FH": {unit: "Hz"},
	"G": {metric: "generic"},
	"H": {metric: "humidity"}, "HP": {unit: "%RH"}, "H%": {unit: "%RH"},
	"I": {metric: "current"}, "IA": {unit: "A"},
	"L": {metric: "salinity"}, "LS": {unit: "ppt"},
	"N": {metric: "force"}, "NN": {unit: "N"},
	"P": {metric: "pressure"}, "PB": {unit: "Pa", how: asBar}, "PP": {unit: "Pa"},
	"PH": {unit: "Pa", how: asHectopascal}, "PI": {unit: "Pa", how: asMercury}, "PM": {unit: "Pa", how: asTorr},
	"R": {metric: "flow"}, "RI": {unit: "l/s"}, "Rl": {unit: "l/s"},
	"S": {metric: "switch"}, "SM": {unit: "m/s"}, "SK": {unit: "m/s", how: asKmh}, "SN": {unit: "m/s", how: asKnots}, "SS": {unit: "m/s", how: asMph},
	"T": {metric: "speed.rotation"}, "TR": {unit: "1/min"},
	"U": {metric: "voltage"}, "UV": {unit: "V"},
	"V": {metric: "volume"}, "VM": {unit: "m3"}, "VP": {unit: "%"},
	"Z": {metric: "duration"}, "Zs": {unit: "s"}, "ZS": {unit: "s"},
}

// numbered are types that mean something else where transducers have numbers
// for names, which Vaisala's do: rain and hail have one type and one letter, but
// two units, so there is none; and the letter of a voltage says how its heating
// does.
var numbered = map[string]transducer{
	"R": {metric: "intensity"}, "S": {metric: "wind.speed"}, "U": {metric: "voltage", unit: "V"}, "V": {metric: "accumulation"},
}

// transducers takes XDR: type, value, unit and name of each transducer. A name
// that is a number is one among others of the same type only, so its type stands
// before it.
func (p *nmeaParser) transducers() {
	for i := 1; i < p.count; i += 4 {
		kind, letter, name := p.field(i), p.field(i+2), p.field(i+3)
		if len(p.field(i+1)) == 0 {
			continue
		}
		if len(kind) != 1 || len(letter) > 1 {
			p.refuse(i, "is no type of a transducer with its unit")
			return
		}
		general, exact := transducers[string(kind)], transducer{}
		if len(letter) > 0 {
			exact = transducers[string(kind)+string(letter)]
		}
		if general.metric == "" {
			general.metric = "transducer"
		}
		number := len(name) > 0 && skipDigits(name, 0) == len(name)
		if other, ok := numbered[string(kind)]; number && ok {
			general.metric = other.metric
			if kind[0] != 'S' {
				exact = other
			}
		}
		metric := general.metric
		switch {
		case number:
			var ok bool
			if metric, ok = p.joined(metric, string(name)); !ok {
				p.refuse(i+3, "is a name that is too long")
				return
			}
		case len(name) > 0:
			metric = p.names.find(name).name
		}
		p.item(&item{at: i + 1, metric: metric, unit: exact.unit, how: exact.how})
	}
}
