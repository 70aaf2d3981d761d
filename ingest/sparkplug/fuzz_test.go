package sparkplug

import (
	"errors"
	"testing"
	"unicode/utf8"
)

// FuzzPayload reads anything in every way that there is: no panic, errors of
// one kind, texts that are UTF-8, and no more parts than the bounds.
func FuzzPayload(f *testing.F) {
	f.Add(sample(), byte(3))
	f.Add(blockField(nil, 2, blockField(nil, 17, blockField(integerField(blockField(nil, 2, []byte("a")), 3, 3), 4, blockField(nil, 1, integerField(nil, 1, 5))))), byte(16))
	f.Add(blockField(nil, 2, blockField(nil, 18, blockField(nil, 2, integerField(nil, 2, 5)))), byte(19))
	f.Add(blockField(nil, 2, blockField(nil, 16, []byte("\x0c\x00\x00\x00\x34\xd0"))), byte(32))
	f.Add(blockField(blockField(nil, 4, []byte(compressed)), 5, []byte("\x78\x9c\x03\x00\x00\x00\x00\x01")), byte(0))
	f.Fuzz(func(t *testing.T, payload []byte, typ byte) {
		p, err := Parse(payload)
		if err == nil {
			p, err = p.Inflate()
		}
		for n := 0; err == nil; n++ {
			if n > (MaxInflation+1)*len(payload)+MinInflation {
				t.Fatalf("%d metrics in %d bytes", n, len(payload))
			}
			var m Metric
			var ok bool
			if ok, err = p.Next(&m); ok {
				look(t, &m, Type(typ), 0)
			} else {
				break
			}
		}
		check(t, err)
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, ErrMalformed) {
		t.Fatal(err)
	}
}

// look reads a metric as if it were of any datatype.
func look(t *testing.T, m *Metric, typ Type, depth int) {
	t.Helper()
	if !utf8.Valid(m.Name) {
		t.Fatalf("%q", m.Name)
	}
	properties, err := m.Properties.All()
	if check(t, err); len(properties) > maxProperties {
		t.Fatalf("%d properties", len(properties))
	}
	v, err := m.Value.Scalar(typ)
	if check(t, err); err != nil && v.String() != "0" {
		t.Fatalf("%v with %v", v, err)
	}
	elements, err := m.Value.Elements(typ)
	if check(t, err); len(elements) > MaxElements {
		t.Fatalf("%d elements", len(elements))
	}
	table, err := m.Value.Table()
	check(t, err)
	if err == nil && len(table.Rows)*(1+len(table.Columns)) > 2*MaxElements {
		t.Fatalf("%d rows of %d", len(table.Rows), len(table.Columns))
	}
	members, err := m.Value.Members()
	for check(t, err); err == nil && depth < 4; {
		var member Metric
		var ok bool
		if ok, err = members.Next(&member); !ok {
			break
		}
		look(t, &member, typ, depth+1)
	}
}
