package decode

import (
	"bytes"

	"github.com/tidegate/tidegate/reading"
)

// item is what one field of a sentence means.
type item struct {
	at     int // the field's number, from 1
	metric string
	unit   string
	how    how
	behind string // what the next field must be, if it is not empty
	sure   bool   // it counts also if the sentence is not valid
	valid  int    // the field that says A or V of it alone, 0 if there is none
	// or says that this is another way to tell the metric of the item before,
	// which counts when that was empty.
	or bool
}

// sentence is what the fields of one type mean. Numbers of fields are 0 where
// there is no such field.
type sentence struct {
	items   []item
	clock   int // hhmmss.ss
	date    int // ddmmyy
	status  int // A or V
	mode    int // the mode indicator of NMEA 2.3, a letter for each system
	quality int // of GGA
	fix     int // of GSA, 1 for none
}

// sentences are the types, from the public descriptions of the standard.
var sentences = map[string]sentence{
	"RMC": {clock: 1, date: 9, status: 2, mode: 12, items: []item{
		{at: 2, metric: "valid", how: asValid, sure: true},
		{at: 3, metric: "lat", unit: "lat", how: asLatitude}, {at: 5, metric: "lon", unit: "lon", how: asLongitude},
		{at: 7, metric: "speed", unit: "m/s", how: asKnots}, {at: 8, metric: "course", unit: "deg"},
		{at: 10, metric: "variation", unit: "deg", how: asEastWest}}},
	"GGA": {clock: 1, quality: 6, items: []item{
		{at: 2, metric: "lat", unit: "lat", how: asLatitude}, {at: 4, metric: "lon", unit: "lon", how: asLongitude},
		{at: 6, metric: "fix.quality", sure: true}, {at: 7, metric: "satellites", sure: true}, {at: 8, metric: "hdop"},
		{at: 9, metric: "altitude", unit: "m", behind: "M"}, {at: 11, metric: "geoid", unit: "m", behind: "M"},
		{at: 13, metric: "dgps.age", unit: "s"}, {at: 14, metric: "dgps.station", how: asText}}},
	"GNS": {clock: 1, mode: 6, items: []item{
		{at: 2, metric: "lat", unit: "lat", how: asLatitude}, {at: 4, metric: "lon", unit: "lon", how: asLongitude},
		{at: 6, metric: "fix.mode", how: asText, sure: true}, {at: 7, metric: "satellites", sure: true}, {at: 8, metric: "hdop"},
		{at: 9, metric: "altitude", unit: "m"}, {at: 10, metric: "geoid", unit: "m"},
		{at: 11, metric: "dgps.age", unit: "s"}, {at: 12, metric: "dgps.station", how: asText}}},
	"GLL": {clock: 5, status: 6, mode: 7, items: []item{
		{at: 1, metric: "lat", unit: "lat", how: asLatitude}, {at: 3, metric: "lon", unit: "lon", how: asLongitude},
		{at: 6, metric: "valid", how: asValid, sure: true}}},
	"GSA": {fix: 2, items: []item{
		{at: 2, metric: "fix.dimensions", sure: true}, {at: 15, metric: "pdop"}, {at: 16, metric: "hdop"}, {at: 17, metric: "vdop"}}},
	"GST": {clock: 1, items: []item{
		{at: 2, metric: "error.range", unit: "m"}, {at: 6, metric: "error.lat", unit: "m"},
		{at: 7, metric: "error.lon", unit: "m"}, {at: 8, metric: "error.altitude", unit: "m"}}},
	"GSV": {}, // see inView
	"VTG": {mode: 9, items: []item{
		{at: 1, metric: "course", unit: "deg", behind: "T"}, {at: 3, metric: "course_magnetic", unit: "deg", behind: "M"},
		{at: 5, metric: "speed", unit: "m/s", how: asKnots, behind: "N"},
		{at: 7, metric: "speed", unit: "m/s", how: asKmh, behind: "K", or: true}}},
	"ZDA": {clock: 1}, // see clockOf
	"HDT": {items: []item{{at: 1, metric: "heading", unit: "deg", behind: "T"}}},
	"HDM": {items: []item{{at: 1, metric: "heading_magnetic", unit: "deg", behind: "M"}}},
	"HDG": {items: []item{
		{at: 1, metric: "heading_magnetic", unit: "deg"}, {at: 2, metric: "deviation", unit: "deg", how: asEastWest},
		{at: 4, metric: "variation", unit: "deg", how: asEastWest}}},
	"ROT": {status: 2, items: []item{{at: 1, metric: "rate_of_turn", unit: "deg/min"}}},
	"RSA": {items: []item{{at: 1, metric: "rudder", unit: "deg", valid: 2}, {at: 3, metric: "rudder.port", unit: "deg", valid: 4}}},
	"MWV": {status: 5}, // see wind
	"MWD": {items: []item{
		{at: 1, metric: "wind.direction", unit: "deg", behind: "T"}, {at: 3, metric: "wind.direction_magnetic", unit: "deg", behind: "M"},
		{at: 7, metric: "wind.speed", unit: "m/s", behind: "M"},
		{at: 5, metric: "wind.speed", unit: "m/s", how: asKnots, behind: "N", or: true}}},
	"MDA": {items: []item{
		{at: 3, metric: "pressure", unit: "Pa", how: asBar, behind: "B"},
		{at: 1, metric: "pressure", unit: "Pa", how: asMercury, behind: "I", or: true},
		{at: 5, metric: "temp.air", unit: "Cel", behind: "C"}, {at: 7, metric: "temp.water", unit: "Cel", behind: "C"},
		{at: 9, metric: "humidity", unit: "%RH"}, {at: 10, metric: "humidity.absolute", unit: "%"},
		{at: 11, metric: "temp.dew_point", unit: "Cel", behind: "C"},
		{at: 13, metric: "wind.direction", unit: "deg", behind: "T"}, {at: 15, metric: "wind.direction_magnetic", unit: "deg", behind: "M"},
		{at: 19, metric: "wind.speed", unit: "m/s", behind: "M"},
		{at: 17, metric: "wind.speed", unit: "m/s", how: asKnots, behind: "N", or: true}}},
	"MTW": {items: []item{{at: 1, metric: "temp.water", unit: "Cel", behind: "C"}}},
	"DBT": {items: depth("depth")},
	"DBS": {items: depth("depth.surface")},
	"DBK": {items: depth("depth.keel")},
	"DPT": {items: []item{
		{at: 1, metric: "depth", unit: "m"}, {at: 2, metric: "depth.offset", unit: "m"}, {at: 3, metric: "depth.range", unit: "m"}}},
	"VHW": {items: []item{
		{at: 1, metric: "heading", unit: "deg", behind: "T"}, {at: 3, metric: "heading_magnetic", unit: "deg", behind: "M"},
		{at: 5, metric: "water.speed", unit: "m/s", how: asKnots, behind: "N"},
		{at: 7, metric: "water.speed", unit: "m/s", how: asKmh, behind: "K", or: true}}},
	"VLW": {items: []item{
		{at: 1, metric: "water.distance", unit: "m", how: asMiles, behind: "N"}, {at: 3, metric: "water.trip", unit: "m", how: asMiles, behind: "N"},
		{at: 5, metric: "ground.distance", unit: "m", how: asMiles, behind: "N"}, {at: 7, metric: "ground.trip", unit: "m", how: asMiles, behind: "N"}}},
	"XDR": {}, // see transducers
	"TXT": {items: []item{{at: 4, metric: "text", how: asText}}},
}

// depth returns the items of the sentences that tell a depth in three units.
func depth(metric string) []item {
	return []item{
		{at: 3, metric: metric, unit: "m", behind: "M"},
		{at: 1, metric: metric, unit: "m", how: asFeet, behind: "f", or: true},
		{at: 5, metric: metric, unit: "m", how: asFathoms, behind: "F", or: true},
	}
}

// oldVTG is what VTG was before NMEA 3: four fields without letters.
var oldVTG = sentence{items: []item{
	{at: 1, metric: "course", unit: "deg"}, {at: 2, metric: "course_magnetic", unit: "deg"},
	{at: 3, metric: "speed", unit: "m/s", how: asKnots}, {at: 4, metric: "speed", unit: "m/s", how: asKmh, or: true}}}

// sentence takes the fields of the sentence at hand.
func (p *nmeaParser) sentence(s sentence) (problem, hint string) {
	first := len(p.out)
	p.problem = ""
	p.flags = p.quality(s)
	switch kind := string(p.address[2:]); kind {
	case "XDR":
		p.transducers()
	case "MWV":
		p.wind()
	case "GSV":
		p.inView()
	case "VTG":
		if p.count <= 6 {
			s = oldVTG
		}
		p.items(s.items)
	default:
		p.items(s.items)
	}
	at := p.clockOf(s)
	if string(p.address[2:]) == "ZDA" {
		p.clock(at)
	}
	for i := first; i < len(p.out); i++ {
		p.out[i].Time = at
	}
	if p.problem == "too many readings" {
		return p.problem, hintFor(p.problem)
	}
	return p.problem, "the sender does not keep to the standard"
}

// quality returns what a sentence says about itself.
func (p *nmeaParser) quality(s sentence) reading.Flags {
	if s.status > 0 && string(p.field(s.status)) == "V" {
		return reading.Bad
	}
	if s.fix > 0 && string(p.field(s.fix)) == "1" {
		return reading.Bad
	}
	if s.quality > 0 {
		switch string(p.field(s.quality)) {
		case "0":
			return reading.Bad
		case "6", "7", "8":
			return reading.Uncertain
		}
	}
	mode := p.field(s.mode)
	if s.mode == 0 || len(mode) == 0 {
		return 0
	}
	// GNS has a letter for each system; one that has a fix is enough.
	if len(bytes.Trim(mode, "N")) == 0 {
		return reading.Bad
	}
	if len(bytes.Trim(mode, "NEMS")) == 0 {
		return reading.Uncertain
	}
	return 0
}

// items takes the fields that have a meaning.
func (p *nmeaParser) items(items []item) {
	given := false
	for i := range items {
		it := &items[i]
		if it.or && given {
			continue
		}
		if given = len(p.field(it.at)) > 0; !given {
			continue
		}
		if letter := p.field(it.at + 1); it.behind != "" && len(letter) > 0 && string(letter) != it.behind {
			p.refuse(it.at+1, "where "+it.behind+" must be")
			return
		}
		p.item(it)
	}
}

// item takes one field that is not empty.
func (p *nmeaParser) item(it *item) {
	var v reading.Value
	var ok bool
	switch it.how {
	case asNumber:
		if v, ok = p.number(p.field(it.at)); !ok {
			p.refuse(it.at, "is not a number")
		}
	case asText:
		v, ok = reading.String(string(p.field(it.at))), true
	case asEastWest:
		v, ok = p.eastWest(it.at)
	case asLatitude:
		v, ok = p.angle(it.at, 90, 'N', 'S')
	case asLongitude:
		v, ok = p.angle(it.at, 180, 'E', 'W')
	case asValid:
		v, ok = p.valid(it.at)
	default:
		v, ok = p.converted(it.at, it.how)
	}
	if !ok || !p.add(it.metric, it.unit, v) {
		return
	}
	last := &p.out[len(p.out)-1]
	switch {
	case it.sure:
		last.Flags = 0
	case it.valid > 0 && string(p.field(it.valid)) == "V":
		last.Flags |= reading.Bad
	}
}

// valid reads whether a sentence calls itself valid.
func (p *nmeaParser) valid(i int) (v reading.Value, ok bool) {
	told := string(p.field(i))
	if told != "A" && told != "V" {
		p.refuse(i, "is neither A nor V")
		return v, false
	}
	return reading.Bool(told == "A"), true
}
