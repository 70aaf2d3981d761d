package decode

import (
	"fmt"

	"github.com/tidegate/tidegate/reading"
)

// byTemplate takes what the fields of the template lead to.
func (j *JSON) byTemplate(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	x, err := j.template.indexed(f.Payload)
	defer j.template.release(x)
	if err != nil {
		return dst, err
	}
	w := walker{
		parser: parser{
			scanner: scanner{text: f.Payload},
			JSON:    j,
			metric:  f.Metric,
			out:     dst,
			room:    j.maxReadings,
		},
		nodes: x.nodes, unescaped: x.unescaped, frame: f,
	}
	if err := w.fields(); err != nil {
		return dst, err
	}
	w.own(len(dst), f.Device)
	if len(w.out) == len(dst) {
		return dst, malformed("no value found", 0, f.Payload, "at least one field of the template must lead to a value")
	}
	return w.out, nil
}

// walker follows paths.
type walker struct {
	parser
	frame     Frame
	nodes     []node
	unescaped []byte
	field     *templateField
	aside     [asides]int32 // nodes, 0 for none: the top is beside nothing

	device   []byte        // what {device} has found
	metric   [maxName]byte // what {metric} has found; an array, as in parser
	metricTo int
}

// fields takes all fields of the template.
func (w *walker) fields() error {
	for i := range w.template.fields {
		w.field = &w.template.fields[i]
		w.device, w.metricTo = nil, 0
		w.aside = [asides]int32{}
		if err := w.walk(0, 0); err != nil {
			return err
		}
	}
	return nil
}

// walk goes on from a node, which so many steps have led to.
func (w *walker) walk(steps int, at int32) error {
	for i := range w.field.aside {
		if a := &w.field.aside[i]; a.given && a.fork == steps {
			w.aside[i] = w.follow(a.rest, at)
		}
	}
	if steps == len(w.field.path) {
		return w.take(at)
	}
	s := &w.field.path[steps]
	if s.kind < toAny {
		if child := w.child(s, at); child != 0 {
			return w.walk(steps+1, child)
		}
		return nil
	}
	parent := w.nodes[at]
	if parent.kind != '{' && (parent.kind != '[' || s.kind != toAny) {
		return nil
	}
	device, metricTo := w.device, w.metricTo
	for child := at + 1; child < parent.next; child = w.nodes[child].next {
		if s.kind == toDevice {
			w.device = w.key(child)
		} else if s.kind == toMetric && !w.nest(metricTo, w.key(child)) {
			return w.failAt(child, "name too long", "names may have 256 bytes")
		}
		if err := w.walk(steps+1, child); err != nil {
			return err
		}
	}
	w.device, w.metricTo = device, metricTo
	return nil
}

// nest puts a part behind what {metric} has found up to an index.
func (w *walker) nest(to int, part []byte) bool {
	if to+1+len(part) > maxName {
		return false
	}
	if to > 0 {
		w.metric[to] = '.'
		to++
	}
	w.metricTo = to + copy(w.metric[to:], part)
	return true
}

// follow returns the node that a path with one end leads to, 0 if none.
func (w *walker) follow(rest path, at int32) int32 {
	for i := range rest {
		if at = w.child(&rest[i], at); at == 0 {
			return 0
		}
	}
	return at
}

// child returns the child of a node that a step leads to, 0 if none. Of several
// members with the same name, it is the first.
func (w *walker) child(s *step, at int32) int32 {
	parent := w.nodes[at]
	index := 0
	for child := at + 1; child < parent.next; child = w.nodes[child].next {
		if parent.kind == '[' && index == s.index {
			return child
		}
		if parent.kind == '{' && s.kind == toName && string(w.key(child)) == s.name {
			return child
		}
		index++
	}
	return 0
}

// key returns the name of the member at a node.
func (w *walker) key(at int32) []byte {
	n := &w.nodes[at]
	if n.key < 0 {
		return w.unescaped[-n.key-1 : n.keyEnd]
	}
	return w.text[n.key:n.keyEnd]
}

// take takes the value at the end of the field's path.
func (w *walker) take(at int32) error {
	first := len(w.out)
	if err := w.enterName(); err != nil {
		return err
	}
	k, err := w.known(at)
	if err != nil {
		return err
	}
	w.pos = int(w.nodes[at].start)
	if w.field.inner != nil || w.field.kind >= hexKind {
		err = w.within(at, k)
	} else {
		err = w.value(at)
	}
	if err != nil {
		return err
	}
	w.tell(first, k)
	return nil
}

// known is what is known about a value from elsewhere; empty and zero are not.
type known struct {
	device []byte
	when   int64
	unit   string
}

// known finds what is known about the value at a node.
func (w *walker) known(at int32) (k known, err error) {
	device, when, unit := w.device, int64(0), w.field.unit
	if a := w.aside[deviceAside]; a != 0 {
		if device, err = w.textAt(a); err != nil {
			return k, err
		}
	}
	if a := w.aside[timeAside]; a != 0 {
		if when, err = w.timeAt(a); err != nil {
			return k, err
		}
	}
	if a := w.aside[unitAside]; a != 0 && unit == "" {
		text, err := w.textAt(a)
		if err != nil {
			return k, err
		}
		unit, _ = w.template.text.unit(text)
	}
	if len(device) > maxName {
		return k, w.failAt(at, "name of a device too long", "names may have 256 bytes")
	}
	return known{device, when, unit}, nil
}

// tell gives the readings from first on what is known about them.
func (w *walker) tell(first int, k known) {
	if len(k.device) > 0 && len(w.out) > first {
		w.own(first, w.devices.find(k.device).name)
	}
	w.date(first, k.when)
	for i := first; k.unit != "" && i < len(w.out); i++ {
		if w.out[i].Unit == "" {
			w.out[i].Unit = k.unit
		}
	}
}

// enterName puts the name of the readings into the path, as far as metric,
// {metric} and metric_path tell it.
func (w *walker) enterName() error {
	found := w.metric[:w.metricTo]
	if a := w.aside[metricAside]; a != 0 {
		text, err := w.textAt(a)
		if err != nil {
			return err
		}
		found = text
	}
	w.pathEnd = 0
	if err := w.enter([]byte(w.field.metric)); err != nil || len(found) == 0 {
		return err
	}
	return w.enter(found)
}

// value takes the value at a node, whose name is in the path.
func (w *walker) value(at int32) error {
	kind := w.nodes[at].kind
	outer := w.pathEnd
	if kind == '{' || kind == '[' {
		if w.field.kind != anyKind {
			return w.failAt(at, w.field.label+" is an object or an array", "leave the type out, or lead the path to a value in it")
		}
		w.depth = 0
		if kind == '{' {
			return w.object()
		}
	}
	if w.pathEnd == 0 {
		if err := w.enter([]byte(w.lastName())); err != nil {
			return err
		}
	}
	if kind == '[' {
		return w.array(true, outer)
	}
	f := w.names.find(w.path[:w.pathEnd])
	if w.field.kind == anyKind {
		return w.parser.value(f, outer)
	}
	return w.typed(at, f.name)
}

// lastName names a value that nothing else names.
func (w *walker) lastName() string {
	switch {
	case w.field.last != "":
		return w.field.last
	case w.parser.metric != "":
		return w.parser.metric
	}
	return "value"
}

// typed takes a value whose field says what it must be.
func (w *walker) typed(at int32, name string) error {
	if w.nodes[at].kind == 'n' {
		return nil
	}
	text, err := w.textAt(at)
	if err != nil {
		return err
	}
	if w.field.kind == textKind {
		return w.add(name, reading.String(string(text)))
	}
	v, unit, ok, problem := w.template.text.value(w.field.kind, trimmed(text), w.nodes[at].kind == '"')
	if problem != "" {
		return w.failAt(at, w.field.label+": "+problem, hintFor(problem))
	}
	if !ok {
		return nil
	}
	if err := w.add(name, v); err != nil {
		return err
	}
	w.out[len(w.out)-1].Unit = unit
	return nil
}

// textAt returns a value as a text: a string, or a number or a word as it is
// written; nil for null.
func (w *walker) textAt(at int32) ([]byte, error) {
	n := w.nodes[at]
	switch n.kind {
	case '"':
		s := scanner{text: w.text, pos: int(n.start)}
		return s.quoted()
	case '{', '[':
		return nil, w.failAt(at, "an object or an array where a text or a number is looked for", "lead the path to a value in it")
	case 'n':
		return nil, nil
	}
	return w.text[n.start:n.end], nil
}

// timeAt reads the time at a node; 0 for null and for times that are not
// plausible.
func (w *walker) timeAt(at int32) (int64, error) {
	text, err := w.textAt(at)
	if err != nil || len(text) == 0 {
		return 0, err
	}
	ns, ok := w.template.text.times.read(text)
	if !ok {
		return 0, w.failAt(at, quote(text)+" is not a time", hintFor("is not a time"))
	}
	return ns, nil
}

func (w *walker) failAt(at int32, what, hint string) error {
	return fmt.Errorf("%w: %s at byte %d of %d — hint: %s", ErrMalformed, what, w.nodes[at].start, len(w.text), hint)
}
