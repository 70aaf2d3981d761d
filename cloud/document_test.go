package cloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

const sampleDocument = `{"gateway":"g","epoch":"00000000000000a1","lane":"alarm","first":7,"last":14,"readings":[
	{"seq":7,"device":"b","metric":"temp","unit":"Cel","time":1700000000000000000,"value":21.37,"quality":"good"},
	{"seq":8,"device":"a","metric":"temp","time":1700000000000000001,"value":21,"quality":"uncertain"},
	{"seq":9,"device":"b","metric":"count","time":-5,"value":9007199254740993,"quality":"bad"},
	{"seq":10,"device":"b","metric":"on","time":0,"value":true},
	{"seq":12,"device":"b","metric":"state","time":3,"value":"\u00fc\"<\n"},
	{"seq":13,"device":"b","metric":"empty","time":3,"bytes":""},
	{"seq":14,"device":"b","metric":"frame","time":3,"bytes":"AAH/"}]}`

// A document is exported as it came, though its order is not that of a block.
func TestDocumentKeepsItsNumbers(t *testing.T) {
	s := openStore(t)
	server := serve(t, s, ReceiverConfig{})
	for _, want := range []string{
		`{"acked":{"epoch":"00000000000000a1","lane":"alarm","first":7,"last":14}}`,
		`{"acked":{"epoch":"00000000000000a1","lane":"alarm","first":7,"last":14},"duplicate":true}`,
	} {
		status, got, _ := post(t, server.URL, DocumentType+"; charset=utf-8", zipped(t, []byte(sampleDocument)), "Content-Encoding", "gzip")
		if status != 200 || got != want {
			t.Errorf("answered %d %s, want %s", status, got, want)
		}
	}
	head := `{"gateway":"g","epoch":"00000000000000a1","lane":"alarm","seq":`
	want := head + `7,"device":"b","metric":"temp","unit":"Cel","time":1700000000000000000,"value":21.37,"quality":"good"}` + "\n" +
		head + `8,"device":"a","metric":"temp","time":1700000000000000001,"value":21,"quality":"uncertain"}` + "\n" +
		head + `9,"device":"b","metric":"count","time":-5,"value":9007199254740993,"quality":"bad"}` + "\n" +
		head + `10,"device":"b","metric":"on","time":0,"value":true,"quality":"good"}` + "\n" +
		head + `12,"device":"b","metric":"state","time":3,"value":"ü\"<\u000a","quality":"good"}` + "\n" +
		head + `13,"device":"b","metric":"empty","time":3,"bytes":"","quality":"good"}` + "\n" +
		head + `14,"device":"b","metric":"frame","time":3,"bytes":"AAH/","quality":"good"}` + "\n"
	if got := exported(t, s, Filter{}); got != want {
		t.Errorf("export is\n%s\nwant\n%s", got, want)
	}
}

// The same readings may come packed once and as a document once.
func TestDocumentAndChunkCountOnceTogether(t *testing.T) {
	s := openStore(t)
	receive(t, s, chunk(run(t, 3, 6)), 4, 0)
	doc := documentOf(1, samples(1, 8))
	c, err := new(transcoder).chunk(doc)
	if err != nil {
		t.Fatal(err)
	}
	receive(t, s, c, 4, 4)
	wantExport(t, s, Range{1, 8})
}

// documentOf writes readings as an uplink does.
func documentOf(first uint64, rs []reading.Reading) []byte {
	var items []string
	for i, r := range rs {
		items = append(items, fmt.Sprintf(`{"seq":%d,"device":%q,"metric":%q,"unit":%q,"time":%d%s}`,
			first+uint64(i), r.Device, r.Metric, r.Unit, r.Time, appendValue(nil, r.Value)))
	}
	return fmt.Appendf(nil, `{"gateway":"g","epoch":"%016x","lane":"normal","first":%d,"last":%d,"readings":[%s]}`,
		epoch, first, first+uint64(len(rs))-1, strings.Join(items, ","))
}

// In whatever order readings stand in a document, they keep it.
func TestAnyOrderOfADocumentIsKept(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var rs []reading.Reading
		for i := range rapid.IntRange(1, 40).Draw(rt, "n") {
			r := sample(uint64(i))
			r.Unit = ""
			r.Device = rapid.SampledFrom([]string{"b", "a", "c"}).Draw(rt, "device")
			r.Metric = rapid.SampledFrom([]string{"y", "x"}).Draw(rt, "metric")
			r.Time = rapid.Int64Range(-2, 2).Draw(rt, "time")
			rs = append(rs, r)
		}
		c, err := new(transcoder).chunk(documentOf(5, rs))
		if err != nil {
			rt.Fatal(err)
		}
		var got []reading.Reading
		next := uint64(5)
		for _, b := range c.Blocks {
			if b.First != next {
				rt.Fatalf("block begins at %d, want %d", b.First, next)
			}
			next = b.Last() + 1
			if got, err = wire.NewDecoder().Decode(got, b); err != nil {
				rt.Fatal(err)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(rs) {
			rt.Errorf("got\n%v, want\n%v", got, rs)
		}
	})
}

func TestDocumentsThatMakeNoSense(t *testing.T) {
	for _, c := range []struct{ name, old, new string }{
		{"short epoch", `00000000000000a1`, `a1`},
		{"epoch that is no number", `00000000000000a1`, `00000000000000g1`},
		{"unknown lane", `"alarm"`, `"urgent"`},
		{"no gateway", `"gateway":"g"`, `"gateway":""`},
		{"first is not the first", `"first":7`, `"first":6`},
		{"last is not the last", `"last":14`, `"last":15`},
		{"numbers go down", `"seq":9`, `"seq":8`},
		{"value is a list", `21.37`, `[21.37]`},
		{"value is missing", `"value":21.37,`, ``},
		{"value is null", `21.37`, `null`},
		{"value is too large", `21.37`, `1e999`},
		{"unknown quality", `"uncertain"`, `"so-so"`},
		{"bytes that are not base64", `AAH/`, `AAH`},
		{"time is a text", `"time":-5`, `"time":"now"`},
		{"readings are an object", `"readings":[`, `"readings":{"a":[`},
	} {
		doc := strings.Replace(sampleDocument, c.old, c.new, 1)
		if doc == sampleDocument {
			t.Fatalf("%s: nothing replaced", c.name)
		}
		if strings.Contains(c.new, "{") {
			doc = strings.TrimSuffix(doc, "]}") + "]}}"
		}
		if _, err := new(transcoder).chunk([]byte(doc)); !errors.Is(err, wire.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", c.name, err)
		}
	}
}

// Whatever a body holds, it is refused, or it is a delivery that the store can
// take and give back.
func FuzzBody(f *testing.F) {
	f.Add(true, encode(f, chunk(run(f, 1, 5), run(f, 8, 9))))
	f.Add(true, encode(f, chunk(merge(f, run(f, 1, 5), run(f, 6, 9)))))
	f.Add(false, []byte(sampleDocument))
	f.Add(false, documentOf(1, samples(1, 3)))
	s := openStore(f)
	r := NewReceiver(ReceiverConfig{}, s, quiet())
	f.Fuzz(func(t *testing.T, packed bool, body []byte) {
		media := DocumentType
		if packed {
			media = ChunkType
		}
		c, err := r.parse(t.Context(), media, body)
		d := &delivery{chunk: c}
		v := <-s.verifiers
		defer func() { s.verifiers <- v }()
		if err != nil || r.check(c, [32]byte{}, "") != nil || v.verify(d, time.Now()) != nil {
			return
		}
		tx, err := s.db.Begin(true)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback() // each input meets an empty store
		if err := d.store(tx, time.Now()); err != nil || d.result != (Result{Fresh: uint64(c.Count())}) {
			t.Fatalf("%+v of %d readings, %v", d.result, c.Count(), err)
		}
		if err := d.store(tx, time.Now()); err != nil || d.result != (Result{Duplicates: uint64(c.Count())}) {
			t.Fatalf("again %+v of %d readings, %v", d.result, c.Count(), err)
		}
		for _, b := range c.Blocks {
			wantRows(t, b)
		}
	})
}

// wantRows checks that the readings of a block export as JSON.
func wantRows(t *testing.T, b wire.Block) {
	t.Helper()
	rs, err := wire.NewDecoder().Decode(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rs {
		var row rowWriter
		row.begin(laneID{"g", b.Epoch, b.Lane})
		if row.append(b.First+uint64(i), &rs[i]); !json.Valid(row.buf) {
			t.Fatalf("exported %q", row.buf)
		}
	}
}
