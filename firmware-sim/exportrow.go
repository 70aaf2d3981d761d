package firmwaresim

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode"
)

// exportRow is what an audit needs of a row. Its slices point into the row.
type exportRow struct {
	gateway, epoch, lane []byte
	device, metric       []byte
	value                []byte // as JSON; nil when there is none
	seq                  uint64
	hasSeq               bool
}

// parse reads a row. Exports are tens of millions of rows of one plain form, so
// that form is read here; anything out of the ordinary is left to
// encoding/json.
func (r *exportRow) parse(line []byte) error {
	if r.parsePlain(line) {
		return nil
	}
	return r.parseAny(line)
}

func (r *exportRow) parseAny(line []byte) error {
	var row struct {
		Gateway, Epoch, Lane string
		Device, Metric       string
		Value                json.RawMessage
		Seq                  *uint64
	}
	if err := json.Unmarshal(line, &row); err != nil {
		return err
	}
	*r = exportRow{
		gateway: []byte(row.Gateway), epoch: []byte(row.Epoch), lane: []byte(row.Lane),
		device: []byte(row.Device), metric: []byte(row.Metric), value: row.Value,
	}
	if row.Seq != nil {
		r.seq, r.hasSeq = *row.Seq, true
	}
	return nil
}

// parsePlain reads a flat object of plain texts, numbers and booleans without
// white space; false means that the row is not one.
func (r *exportRow) parsePlain(line []byte) bool {
	*r = exportRow{}
	rest, ok := bytes.CutPrefix(line, []byte("{"))
	for ok {
		var key, value []byte
		if key, rest, ok = cutPlainText(rest); !ok || len(rest) == 0 || rest[0] != ':' {
			return false
		}
		if value, rest, ok = cutPlainValue(rest[1:]); !ok || !r.set(key, value) {
			return false
		}
		if len(rest) == 1 && rest[0] == '}' {
			return true
		}
		rest, ok = bytes.CutPrefix(rest, []byte(","))
	}
	return false
}

// cutPlainText cuts a text that needs no unescaping; it keeps the quotes.
func cutPlainText(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return b[:i+1], b[i+1:], true
		case c == '\\' || c < ' ' || c > '~':
			return nil, nil, false
		}
	}
	return nil, nil, false
}

func cutPlainValue(b []byte) (value, rest []byte, ok bool) {
	if len(b) > 0 && b[0] == '"' {
		return cutPlainText(b)
	}
	whole := true // nothing but digits
	for i, c := range b {
		switch {
		case c == ',' || c == '}':
			value, rest = b[:i], b[i:]
			ok = i > 0 && (whole && value[0] != '0' || isNumberOrBool(value))
			return value, rest, ok
		case c < '0' || c > '9':
			whole = false
		}
	}
	return nil, nil, false
}

func isNumberOrBool(b []byte) bool {
	switch c := b[0]; {
	case c == '-' || c >= '0' && c <= '9':
		return b[len(b)-1] > ' ' && json.Valid(b)
	}
	return string(b) == "true" || string(b) == "false"
}

// set takes a field; false means that it is not what it should be.
func (r *exportRow) set(key, value []byte) bool {
	switch string(key) {
	case `"gateway"`:
		return setText(&r.gateway, value)
	case `"epoch"`:
		return setText(&r.epoch, value)
	case `"lane"`:
		return setText(&r.lane, value)
	case `"device"`:
		return setText(&r.device, value)
	case `"metric"`:
		return setText(&r.metric, value)
	case `"value"`:
		r.value = value
		return true
	case `"seq"`:
		var err error
		r.seq, err = strconv.ParseUint(string(value), 10, 64)
		r.hasSeq = err == nil
		return r.hasSeq
	}
	return !bytes.ContainsFunc(key, unicode.IsUpper) // encoding/json takes "Seq" for "seq"
}

func setText(to *[]byte, quoted []byte) bool {
	if quoted[0] != '"' {
		return false
	}
	*to = quoted[1 : len(quoted)-1]
	return true
}
