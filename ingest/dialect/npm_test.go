package dialect

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// encodeElsewhere has the library sparkplug-payload encode messages.
func encodeElsewhere(t *testing.T, messages string) [][]byte {
	t.Helper()
	const install = "no sparkplug-payload: apt-get install nodejs npm && npm install --prefix ingest/dialect/clienttest"
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip(install)
	}
	if _, err := os.Stat("clienttest/node_modules/sparkplug-payload"); err != nil {
		t.Skip(install)
	}
	cmd := exec.CommandContext(t.Context(), "node", "clienttest/encode.mjs")
	cmd.Stdin, cmd.Stderr = bytes.NewReader([]byte(messages)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var digits []string
	if err := json.Unmarshal(out, &digits); err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for _, d := range digits {
		b, err := hex.DecodeString(d)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// birthElsewhere has a metric of every datatype that the library knows.
const birthElsewhere = `{"timestamp":1772366400000,"seq":0,"metrics":[
	{"name":"bdSeq","type":"UInt64","value":"3"},
	{"name":"i8","alias":1,"type":"Int8","value":-128},
	{"name":"i16","alias":2,"type":"Int16","value":-32768},
	{"name":"i32","alias":3,"type":"Int32","value":-2147483648},
	{"name":"i64","alias":4,"type":"Int64","value":"-9223372036854775808"},
	{"name":"u8","alias":5,"type":"UInt8","value":255},
	{"name":"u16","alias":6,"type":"UInt16","value":65535},
	{"name":"u32","alias":7,"type":"UInt32","value":4294967295},
	{"name":"u64","alias":8,"type":"UInt64","value":"9223372036854775807"},
	{"name":"f32","alias":9,"type":"Float","value":21.37,"properties":{"engUnit":{"type":"String","value":"°C"},"engHigh":{"type":"Double","value":100},"Quality":{"type":"Int32","value":192}}},
	{"name":"f64","alias":10,"type":"Double","value":0.1,"timestamp":1772366399000},
	{"name":"yes","alias":11,"type":"Boolean","value":true},
	{"name":"text","alias":12,"type":"String","value":"grün"},
	{"name":"when","alias":13,"type":"DateTime","value":"1772366300000"},
	{"name":"long text","alias":14,"type":"Text","value":"t"},
	{"name":"uuid","alias":15,"type":"UUID","value":"550e8400-e29b-41d4-a716-446655440000"},
	{"name":"bytes","alias":16,"type":"Bytes","value":"00ff"},
	{"name":"file","alias":17,"type":"File","value":"01","metadata":{"fileName":"x"}},
	{"name":"null","alias":18,"type":"Int32","value":null},
	{"name":"set","alias":19,"type":"DataSet","value":{"numOfColumns":2,"types":["Int32","String"],"columns":["n","s"],"rows":[[-1,"a"],[2,"b"]]}},
	{"name":"machine","alias":20,"type":"Template","value":{"templateRef":"m","isDefinition":false,"metrics":[{"name":"rpm","type":"Int32","value":-5}],"parameters":[{"name":"p","type":"Int32","value":1}]}}
]}`

const dataElsewhere = `{"timestamp":1772366401000,"seq":1,"metrics":[
	{"alias":1,"type":"Int8","value":-1},
	{"alias":4,"type":"Int64","value":"-2"},
	{"alias":9,"type":"Float","value":-0.5,"isHistorical":true},
	{"alias":11,"type":"Boolean","value":false}
]}`

func TestMessagesOfAnotherLibrary(t *testing.T) {
	messages := encodeElsewhere(t, "["+birthElsewhere+","+dataElsewhere+"]")
	custody := ingesttest.NewCustody()
	custody.CommitAtOnce()
	g := newGateway(t, custody)
	var got []string
	for i, topic := range []string{"spBv1.0/g/NBIRTH/n", "spBv1.0/g/NDATA/n"} {
		rs, err := g.publish(topic, messages[i])
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			got = append(got, line(r))
		}
	}
	const at, later = " at 2026-03-01T12:00:00Z", " at 2026-03-01T12:00:01Z"
	want := []string{
		`g/n | online | bool "true"` + at,
		`g/n | i8 | float "-128"` + at,
		`g/n | i16 | float "-32768"` + at,
		`g/n | i32 | float "-2.147483648e+09"` + at,
		`g/n | i64 | int "-9223372036854775808"` + at,
		`g/n | u8 | float "255"` + at,
		`g/n | u16 | float "65535"` + at,
		`g/n | u32 | float "4.294967295e+09"` + at,
		`g/n | u64 | int "9223372036854775807"` + at,
		`g/n | f32 | float "21.37" Cel` + at,
		`g/n | f64 | float "0.1" at 2026-03-01T11:59:59Z`,
		`g/n | yes | bool "true"` + at,
		`g/n | text | string "grün"` + at,
		`g/n | when | float "1.7723663e+12"` + at,
		`g/n | long text | string "t"` + at,
		`g/n | uuid | string "550e8400-e29b-41d4-a716-446655440000"` + at,
		`g/n | bytes | bytes "\"\\x00\\xff\""` + at,
		`g/n | file | bytes "\"\\x01\""` + at,
		`g/n | set.0.n | float "-1"` + at,
		`g/n | set.0.s | string "a"` + at,
		`g/n | set.1.n | float "2"` + at,
		`g/n | set.1.s | string "b"` + at,
		`g/n | machine.rpm | float "-5"` + at,
		`g/n | i8 | float "-1"` + later,
		`g/n | i64 | float "-2"` + later,
		`g/n | f32 | float "-0.5" Cel` + later + ` historical`,
		`g/n | yes | bool "false"` + later,
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("from %d on: got\n%q\nwant\n%q", i, got[min(i, len(got)):], slices.Clone(want[min(i, len(want)):]))
		}
	}
}
