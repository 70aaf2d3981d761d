package dialect

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/sparkplug"
	"github.com/tidegate/tidegate/reading"
)

// Sparkplug decodes Sparkplug B 3.0 of the Eclipse Foundation, on topics
// spBv1.0/GROUP/KIND/NODE[/DEVICE] behind any prefix. The device of its readings
// is GROUP/NODE[/DEVICE], whatever a route says.
//
// Births are remembered, one note an edge node or device: a later one replaces
// it, and the birth of an edge node ends those of its devices. Data whose
// aliases no living birth explains are refused, and a route keeps them whole:
// guessing would store one metric under the name of another.
type Sparkplug struct {
	json   *decode.JSON
	topics topics[*sparkplugTopic]
	births birthCache
}

// sparkplugTopic is what a topic says.
type sparkplugTopic struct {
	kind         string // NBIRTH and so on; empty if the topic is none of Sparkplug's
	node, device string // GROUP/NODE, and that or GROUP/NODE/DEVICE
	id           string // DEVICE; empty for edge nodes
	// key and nodeKey are where the births of device and node are remembered,
	// and devicesKey is where the devices of an edge node are listed.
	key, nodeKey, devicesKey string
}

// NewSparkplug returns a decoder. It is safe for concurrent use.
func NewSparkplug() *Sparkplug {
	return &Sparkplug{json: decode.NewJSON(decode.JSONConfig{}), topics: topics[*sparkplugTopic]{learn: learnSparkplug}}
}

// kinds are the kinds of messages, and what they are about.
var kinds = map[string]struct{ device, ignored bool }{
	"NBIRTH": {}, "NDATA": {}, "NDEATH": {}, "NCMD": {ignored: true},
	"DBIRTH": {device: true}, "DDATA": {device: true}, "DDEATH": {device: true}, "DCMD": {device: true, ignored: true},
}

// maxSparkplugTopic bounds topics in bytes: a will names its node once for each
// device.
const maxSparkplugTopic = 512

func learnSparkplug(topic string) *sparkplugTopic {
	t := new(sparkplugTopic)
	levels := strings.Split(topic, "/")
	for i, level := range levels {
		kind, known := kinds[level]
		behind := levels[i+1:]
		if !known || i == 0 || kind.device && len(behind) != 2 || !kind.device && len(behind) != 1 {
			continue
		}
		if len(topic) > maxSparkplugTopic {
			return t
		}
		t.kind = level
		t.node = levels[i-1] + "/" + behind[0]
		t.device = t.node
		if kind.device {
			t.id = behind[1]
			t.device += "/" + t.id
		}
		prefix := "sparkplug/" + strings.Join(levels[:i-1], "/") + "/"
		t.key, t.nodeKey = prefix+t.device, prefix+t.node
		t.devicesKey = t.nodeKey + "//devices" // names have no slash where this has two
		return t
	}
	if n := len(levels); n > 1 && levels[n-2] == "STATE" { // of a host application
		t.kind = "STATE"
	}
	return t
}

// Decode implements decode.Decoder.
func (s *Sparkplug) Decode(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	t := s.topics.find(f.Topic)
	switch {
	case t.kind == "":
		if len(f.Payload) == 0 {
			return dst, nil
		}
		if rs, err := orNothing(ordinary(s.json, dst, f)); err == nil {
			return rs, nil
		}
		return dst, fmt.Errorf("%w: topic %.100q is none of Sparkplug's — hint: they are spBv1.0/GROUP/KIND/NODE, and /DEVICE, of at most %d bytes", decode.ErrMalformed, f.Topic, maxSparkplugTopic)
	case t.kind == "STATE" || kinds[t.kind].ignored, len(f.Payload) == 0 && !strings.HasSuffix(t.kind, "DEATH"):
		return dst, nil
	}
	out, err := s.message(dst, f, t)
	if err != nil {
		if strings.HasSuffix(t.kind, "BIRTH") {
			f.Remember(t.key, nil) // the one before is over in any case
		}
		return dst, malformed(err)
	}
	return out, nil
}

// malformed makes the errors of package sparkplug ones of package decode.
func malformed(err error) error {
	if errors.Is(err, decode.ErrMalformed) {
		return err
	}
	return fmt.Errorf("%w: %w", decode.ErrMalformed, err)
}

func (s *Sparkplug) message(dst []reading.Reading, f decode.Frame, t *sparkplugTopic) ([]reading.Reading, error) {
	p, err := sparkplug.Parse(f.Payload)
	if err != nil {
		return dst, err
	}
	if p, err = p.Inflate(); err != nil {
		return dst, err
	}
	w := walk{out: dst, device: t.device, room: sparkplug.MaxElements, left: maxReadings, names: maxNames}
	w.at, _ = decode.Milliseconds.Time(p.Timestamp)
	switch t.kind {
	case "NBIRTH", "DBIRTH":
		err = w.birth(f, t, &p)
	case "NDATA", "DDATA":
		w.known = s.living(f, t)
		err = w.metrics(&p)
	case "NDEATH":
		err = w.death(f, t, &p)
	case "DDEATH":
		w.online(t.device, false, w.at)
	}
	return w.out, err
}

// living returns the birth that explains the data of t; nil if there is none,
// or if the edge node was born again since.
func (s *Sparkplug) living(f decode.Frame, t *sparkplugTopic) *birth {
	b := s.births.parse(t.key, f.Recall(t.key))
	if b == nil || t.id != "" && b.generation != generationOf(f.Recall(t.nodeKey)) {
		return nil
	}
	return b
}

// birth reads a birth and remembers it.
func (w *walk) birth(f decode.Frame, t *sparkplugTopic, p *sparkplug.Payload) error {
	b := &birth{}
	w.born = b
	w.online(t.device, true, w.at)
	if err := w.metrics(p); err != nil {
		return err
	}
	if t.id == "" {
		h := fnv.New64a()
		h.Write(f.Payload)
		b.generation = h.Sum64() | 1 // zero is none
		t.endDevices(f)
	} else {
		b.generation = generationOf(f.Recall(t.nodeKey))
		t.list(f)
	}
	note := b.note()
	f.Remember(t.key, note)
	if !bytes.Equal(f.Recall(t.key), note) {
		f.Remember(t.key, nil) // there is no room: better nothing than the one before
	}
	return nil
}

// maxDevices and maxDeviceBytes bound the list of an edge node's devices.
const (
	maxDevices     = 4096
	maxDeviceBytes = 64 << 10
)

// list adds the device of t to those of its edge node.
func (t *sparkplugTopic) list(f decode.Frame) {
	known := f.Recall(t.devicesKey)
	for id := range bytes.SplitSeq(known, []byte{'\n'}) {
		if string(id) == t.id {
			return
		}
	}
	full := len(known)+len(t.id) > maxDeviceBytes || bytes.Count(known, []byte{'\n'}) >= maxDevices
	if full || strings.Contains(t.id, "\n") {
		return
	}
	after := append(bytes.Clone(known), t.id...)
	f.Remember(t.devicesKey, append(after, '\n'))
}

// endDevices forgets the births of an edge node's devices.
func (t *sparkplugTopic) endDevices(f decode.Frame) {
	for id := range bytes.SplitSeq(f.Recall(t.devicesKey), []byte{'\n'}) {
		f.Remember(t.nodeKey+"/"+string(id), nil)
	}
	f.Remember(t.devicesKey, nil)
}

// death reads the will of an edge node, which takes its devices along. A will
// whose session is not that of the birth comes from a connection that a later one
// has replaced, and says nothing (§6.4.21). Nor does its timestamp: it was
// written when the connection began.
func (w *walk) death(f decode.Frame, t *sparkplugTopic, p *sparkplug.Payload) error {
	b := &birth{}
	w.born = b
	before := len(w.out)
	if err := w.metrics(p); err != nil {
		return err
	}
	w.out = w.out[:before]
	if known := parseBirth(f.Recall(t.nodeKey)); known != nil && known.session != 0 && b.session != 0 && known.session != b.session {
		return nil
	}
	w.online(t.device, false, 0)
	for id := range bytes.SplitSeq(f.Recall(t.devicesKey), []byte{'\n'}) {
		if len(id) > 0 {
			w.online(t.node+"/"+string(id), false, 0)
		}
	}
	return nil
}
