package decode

import (
	"fmt"
	"strconv"

	"github.com/tidegate/tidegate/reading"
)

// JSONConfig says how JSON finds times and where it stops. The zero value is
// what most firmware needs.
type JSONConfig struct {
	// TimeKeys are the names of fields that tell the time, in any case. Empty
	// means ts, t, time, timestamp and datetime.
	TimeKeys []string `toml:"time_keys"`
	// TimeUnit is the unit of numeric times.
	TimeUnit TimeUnit `toml:"time_unit"`
	// DeviceKeys are the names of fields that name the device, in any case:
	// {"dev_eui": "…", "t": 21}. Empty means that there are none.
	DeviceKeys []string `toml:"device_keys"`
	// NumberStrings takes strings that are numbers as numbers: {"t": "21.5"}.
	NumberStrings bool `toml:"number_strings"`
	// MaxReadings bounds the readings of one payload. Zero means 4096.
	MaxReadings int `toml:"max_readings"`
}

// JSON decodes JSON payloads.
//
// # Names
//
// Each field of an object is a reading named after it. Nested objects are
// joined with dots, elements of arrays by their index: "motor.current",
// "axis.0". Strings, booleans and numbers become values of their kind, numbers
// exactly as strconv.ParseFloat or, beyond 2^53, as integers; null is no
// reading. A name that occurs twice gives two readings.
//
// A payload without names (21.5, "open", [1, 2]) is named Frame.Metric, or
// "value" when that is empty. The same name goes to an object that has nothing
// to tell but one field v, val or value, provided that Frame.Metric is set.
//
// # Samples
//
// The objects of an array at the top are samples: each has its own time, and
// their names carry no index, so a backlog sent as [{…}, {…}] continues the
// series that was sent live as {…}. The same holds for an array under the name
// samples, readings, records, measurements, batch or data, which leaves no
// trace in the names. Objects of any other array are parts of one thing
// ("motors.0.current").
//
// # Times
//
// The first field of an object that has a time's name and a plausible time (see
// TimeUnit) tells the time of all its fields, and of nested objects that do not
// tell their own. It may be a number of seconds, milliseconds, microseconds or
// nanoseconds, also in a string, or a string in RFC 3339. A flattened name
// counts by its last part ("motor.ts"). Any other field with a time's name is a
// reading: {"t": 21.5} is a temperature, and the uptime that a device sends
// while its clock is not set does not date its readings to 1970.
//
// # Devices
//
// The first field of an object that has a device's name (see DeviceKeys), and
// whose value is a text or a number, names the device of all its fields, and of
// nested objects that do not name their own.
//
// # Templates
//
// NewJSONTemplate returns a decoder that takes its values from certain places
// of a payload, and only from there.
//
// # Refusals
//
// A payload is taken whole or refused whole. Refused are: what is not JSON,
// names and strings that are not UTF-8, numbers too large for a float, nesting
// deeper than 32, names longer than 256 bytes, more than MaxReadings, and
// payloads that hold no value. Three habits of C firmware are taken although
// they are not JSON: a plus before a number, zeros before it, and NUL bytes
// after the payload.
//
// Decoding costs no allocation once the names have been seen, except for
// strings. At most 2048 names are remembered; more of them work, but slower.
type JSON struct {
	names         *names
	unit          TimeUnit
	maxReadings   int
	numberStrings bool
	devices       *names      // nil if no field names a device
	times         *timeReader // nil for RFC 3339 only
	template      *template   // nil if all fields are readings
}

const (
	// defaultMaxReadings holds a day of minutes.
	defaultMaxReadings = 4096
	// mostReadings of one payload, with names and units as long as they may be,
	// are what custody takes at once. It would refuse more, and a device that is
	// not acknowledged sends the same again for ever.
	mostReadings = 8000
)

// bounded returns the MaxReadings of a configuration.
func bounded(n int) (int, error) {
	if n < 0 || n > mostReadings {
		return 0, fmt.Errorf("max_readings is %d — hint: 1 to %d; leave it out for %d", n, mostReadings, defaultMaxReadings)
	}
	if n == 0 {
		return defaultMaxReadings, nil
	}
	return n, nil
}

// NewJSON returns a decoder. It is safe for concurrent use.
func NewJSON(cfg JSONConfig) *JSON {
	if len(cfg.TimeKeys) == 0 {
		cfg.TimeKeys = defaultTimeKeys()
	}
	if cfg.MaxReadings == 0 {
		cfg.MaxReadings = defaultMaxReadings
	}
	batchKeys := []string{"samples", "readings", "records", "measurements", "batch", "data"}
	j := &JSON{
		names:         newNames(cfg.TimeKeys, batchKeys),
		unit:          cfg.TimeUnit,
		maxReadings:   cfg.MaxReadings,
		numberStrings: cfg.NumberStrings,
	}
	if len(cfg.DeviceKeys) > 0 {
		j.names.assign(deviceField, cfg.DeviceKeys)
		j.devices = newNames(nil, nil)
	}
	return j
}

func defaultTimeKeys() []string { return []string{"ts", "t", "time", "timestamp", "datetime"} }

// Decode implements Decoder.
func (j *JSON) Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	if j.template != nil {
		return j.byTemplate(dst, f)
	}
	p := parser{
		scanner: scanner{text: f.Payload},
		JSON:    j,
		device:  f.Device,
		metric:  f.Metric,
		out:     dst,
		room:    j.maxReadings,
	}
	if j.devices != nil {
		p.device = "" // until it is told, see own
	}
	if err := p.payload(); err != nil {
		return dst, err
	}
	if j.devices != nil {
		p.own(len(dst), f.Device)
	}
	if len(p.out) == len(dst) {
		return dst, fmt.Errorf("%w at byte %d of %d — hint: a payload needs at least one value that is neither null nor a time",
			ErrNoValue, p.pos, len(p.text))
	}
	return p.out, nil
}

const (
	maxDepth = 32
	maxName  = 256 // bytes, dots and indexes included
)

// parser walks one payload. path holds the name of the value it stands at; it
// is an array, because a slice would move the parser to the heap.
type parser struct {
	scanner
	*JSON
	device, metric string
	out            []reading.Reading
	room           int    // readings that may still be added
	named          string // the device that was named last
	depth          int
	pathEnd        int
	path           [maxName]byte
}

// payload parses the whole text. What is not an object is read as if it were
// the only member of one, an array as its samples.
func (p *parser) payload() error {
	var err error
	if p.next() == '{' {
		err = p.object()
	} else {
		err = p.unnamed()
	}
	if err != nil {
		return err
	}
	return p.end()
}

func (p *parser) unnamed() error {
	name := p.metric
	if name == "" {
		name = "value"
	}
	if err := p.enter([]byte(name)); err != nil {
		return err
	}
	return p.value(field{name: name, role: batchField}, 0)
}

// object parses an object whose brace is next, and gives what it added the time
// and the device that it tells.
func (p *parser) object() error {
	if err := p.open(); err != nil {
		return err
	}
	first, outer := len(p.out), p.pathEnd
	var at int64
	var device string
	for more := p.next() != '}'; more; more = p.comma() {
		f, err := p.member()
		if err != nil {
			return err
		}
		switch {
		case f.role == timeField && at == 0 && p.time(&at):
		case f.role == deviceField && device == "" && p.name():
			device = p.named
		default:
			if err := p.value(f, outer); err != nil {
				return err
			}
		}
		p.pathEnd = outer
	}
	p.date(first, at)
	if device != "" {
		p.own(first, device)
	}
	if outer == 0 {
		p.nameLone(first)
	}
	return p.close('}', `after a field, "," or "}" must follow`)
}

// array parses an array whose bracket is next. The objects of a batch take the
// place of the array, whose own name began at outer.
func (p *parser) array(batch bool, outer int) error {
	if err := p.open(); err != nil {
		return err
	}
	own := p.pathEnd
	index := 0
	for more := p.next() != ']'; more; more = p.comma() {
		if batch && p.next() == '{' {
			p.pathEnd = outer
			if err := p.object(); err != nil {
				return err
			}
		} else if err := p.element(index, own); err != nil {
			return err
		}
		p.pathEnd = own
		index++
	}
	return p.close(']', `after an element, "," or "]" must follow`)
}

func (p *parser) element(index, outer int) error {
	var digits [20]byte
	if err := p.enter(strconv.AppendInt(digits[:0], int64(index), 10)); err != nil {
		return err
	}
	return p.value(p.names.find(p.path[:p.pathEnd]), outer)
}

// value parses any value; outer is where the name of f began in the path.
func (p *parser) value(f field, outer int) error {
	switch c := p.next(); c {
	case '{':
		return p.object()
	case '[':
		return p.array(f.role == batchField, outer)
	case '"':
		text, err := p.quoted()
		if err != nil {
			return err
		}
		return p.add(f.name, p.textOrNumber(text))
	case 't':
		if err := p.word("true"); err != nil {
			return err
		}
		return p.add(f.name, reading.Bool(true))
	case 'f':
		if err := p.word("false"); err != nil {
			return err
		}
		return p.add(f.name, reading.Bool(false))
	case 'n':
		return p.word("null")
	}
	v, err := p.number()
	if err != nil {
		return err
	}
	return p.add(f.name, v)
}

// member parses a member's name and colon, and enters it.
func (p *parser) member() (field, error) {
	key, err := p.key()
	if err != nil {
		return field{}, err
	}
	if err := p.enter(key); err != nil {
		return field{}, err
	}
	return p.names.find(p.path[:p.pathEnd]), nil
}

// enter appends a part to the path.
func (p *parser) enter(part []byte) error {
	end := p.pathEnd
	if end > 0 && end < maxName {
		p.path[end] = '.'
		end++
	}
	if end+len(part) > maxName {
		return p.fail("name too long", "names may have 256 bytes, those of enclosing objects included")
	}
	p.pathEnd = end + copy(p.path[end:], part)
	return nil
}

func (p *parser) add(metric string, v reading.Value) error {
	if p.room == 0 {
		return p.fail("too many readings", "split the payload")
	}
	p.room--
	p.out = append(p.out, reading.Reading{Device: p.device, Metric: metric, Value: v})
	return nil
}

// open steps over a bracket and counts the depth.
func (p *parser) open() error {
	p.depth++
	if p.depth > maxDepth {
		return p.fail("nested too deeply", "at most 32 levels are taken")
	}
	p.pos++
	return nil
}

// close steps over the bracket that ends what open began.
func (p *parser) close(bracket byte, hint string) error {
	if p.next() != bracket {
		return p.fail("unexpected "+p.found(), hint)
	}
	p.depth--
	p.pos++
	return nil
}
