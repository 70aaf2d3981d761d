package dialect

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/ingest/decode"
)

// What a device has announced is one note, which has for each property a line
// feed, NODE/PROPERTY, a tab and the datatype, in the order of their names. Units
// are remembered where all units are.

// key is that of the note.
func (t *homieTopic) key() string { return "homie/" + t.base }

// datatype returns the datatype of a property in a note; empty if nobody has
// told it.
func datatype(note []byte, property string) string {
	at := bytes.Index(note, []byte("\n"+property+"\t"))
	if at < 0 {
		return ""
	}
	rest := note[at+len(property)+2:]
	if end := bytes.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end]
	}
	return string(rest)
}

// datatypes is what a note says, by property.
func datatypes(note []byte) map[string]string {
	all := map[string]string{}
	for line := range strings.SplitSeq(string(note), "\n") {
		if property, typ, ok := strings.Cut(line, "\t"); ok {
			all[property] = typ
		}
	}
	return all
}

// remember keeps the datatypes in place of those before.
func (t *homieTopic) remember(f decode.Frame, types map[string]string) {
	var note []byte
	for _, property := range slices.Sorted(maps.Keys(types)) {
		if typ := types[property]; !strings.ContainsAny(property+typ, "\n\t") {
			note = append(note, "\n"+property+"\t"+typ...)
		}
	}
	f.Remember(t.key(), note)
	if !bytes.Equal(f.Recall(t.key()), note) {
		f.Remember(t.key(), nil) // there is no room: better nothing than the one before
	}
}

// announceType is version 4's way, a retained message a property.
func (t *homieTopic) announceType(f decode.Frame, typ string) {
	all := datatypes(f.Recall(t.key()))
	if len(typ) > maxUnit {
		typ = ""
	}
	if all[t.property] = typ; typ == "" {
		delete(all, t.property)
	}
	t.remember(f, all)
}

func (t *homieTopic) announceUnit(f decode.Frame, property, unit string) {
	metric := strings.ReplaceAll(property, "/", ".")
	replaceUnits(f, t.base+"/"+property, map[string]string{metric: unit})
}

// description is the $description of a device, as far as it matters here.
type description struct {
	Nodes map[string]struct {
		Properties map[string]struct{ Datatype, Unit string }
	}
}

// describe is version 5's way: everything at once, in place of everything
// before. No payload at all says that the device is gone.
func (t *homieTopic) describe(f decode.Frame) error {
	var d description
	if len(f.Payload) > 0 {
		if err := json.Unmarshal(f.Payload, &d); err != nil {
			return notJSON(f, err)
		}
	}
	types := map[string]string{}
	for node, n := range d.Nodes {
		for property, p := range n.Properties {
			name := node + "/" + property
			if len(name) > maxMetricName || len(p.Datatype) > maxUnit {
				continue
			}
			types[name] = p.Datatype
			t.announceUnit(f, name, p.Unit)
		}
	}
	for property := range datatypes(f.Recall(t.key())) {
		if _, stays := types[property]; !stays {
			t.announceUnit(f, property, "")
		}
	}
	t.remember(f, types)
	return nil
}
