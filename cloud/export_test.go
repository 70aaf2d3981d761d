package cloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/url"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

func TestExportFilters(t *testing.T) {
	s := openStore(t)
	receive(t, s, chunk(run(t, 1, 10)), 10, 0)
	receive(t, s, chunk(run(t, 11, 20)), 10, 0)
	other := run(t, 1, 5)
	receive(t, s, wire.Chunk{Gateway: "h", Blocks: []wire.Block{other}}, 5, 0)
	at := func(seq uint64) int64 { return sample(seq).Time }
	for _, c := range []struct {
		name   string
		filter Filter
		want   string
	}{
		{"gateway", Filter{Gateway: "g"}, rows(Range{1, 20})},
		{"unknown gateway", Filter{Gateway: "i"}, ""},
		{"lane", Filter{Gateway: "g", Lane: "normal"}, rows(Range{1, 20})},
		{"empty lane", Filter{Lane: "alarm"}, ""},
		{"device", Filter{Gateway: "g", Device: "d"}, rows(Range{1, 20})},
		{"unknown device", Filter{Device: "e"}, ""},
		{"from within a block", Filter{Gateway: "g", FromSeq: 7}, rows(Range{7, 20})},
		{"from behind the end", Filter{FromSeq: 21}, ""},
		{"since", Filter{Gateway: "g", Since: at(8)}, rows(Range{8, 20})},
		{"until", Filter{Gateway: "g", Until: at(8)}, rows(Range{1, 7})},
		{"a time within", Filter{Gateway: "g", Since: at(9), Until: at(13)}, rows(Range{9, 12})},
		{"everything at once", Filter{Gateway: "g", Lane: "normal", Device: "d", FromSeq: 10, Since: at(9), Until: at(13)}, rows(Range{10, 12})},
	} {
		if got := exported(t, s, c.filter); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, c.want)
		}
	}
}

// An export is read in pages; no reading falls between two of them.
func TestExportOfManyPages(t *testing.T) {
	s := openStore(t)
	noise := randomText(300 << 10)
	for seq := uint64(1); seq <= 12; seq++ {
		receive(t, s, chunk(block(t, seq, reading.Reading{Device: "d", Metric: "m", Value: reading.Bytes(noise)})), 1, 0)
	}
	lines := strings.Split(strings.TrimSpace(exported(t, s, Filter{})), "\n")
	if len(lines) != 12 {
		t.Fatalf("%d lines, want 12", len(lines))
	}
	for i, line := range lines {
		var row struct {
			Seq   int
			Bytes []byte
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil || row.Seq != i+1 || string(row.Bytes) != noise {
			t.Errorf("line %d: seq %d, %d bytes, %v", i, row.Seq, len(row.Bytes), err)
		}
	}
}

// Rot costs the block that it hit, and the export does not hide it.
func TestExportGoesOnBehindDamage(t *testing.T) {
	s := openStore(t)
	for first := uint64(1); first < 30; first += 10 {
		receive(t, s, chunk(run(t, first, first+9)), 10, 0)
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		k := seqKey(laneID{"g", epoch, reading.Normal}.key(), 11)
		v := bytes.Clone(tx.Bucket(blocksBucket).Get(k))
		v[len(v)-2] ^= 1
		return tx.Bucket(blocksBucket).Put(k, v)
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = s.Export(t.Context(), &out, Filter{})
	if !errors.Is(err, wire.ErrCorrupt) || !strings.Contains(err.Error(), "11..20") {
		t.Errorf("got %v, want ErrCorrupt and the readings that it is about", err)
	}
	if want := rows(Range{1, 10}, Range{21, 30}); out.String() != want {
		t.Errorf("export is\n%swant\n%s", out.String(), want)
	}
	server := serve(t, s, ReceiverConfig{})
	res, err := server.Client().Get(server.URL + "/v1/export")
	if err != nil {
		return // broken off before the header
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("an export that is not complete ended as if it were")
	}
}

// A slow reader of an export holds nobody up, even where the file must grow.
func TestExportDelaysNoDelivery(t *testing.T) {
	s := openStore(t)
	receive(t, s, chunk(run(t, 1, 3000)), 3000, 0)
	stalled, release := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- s.Export(t.Context(), &stallingWriter{stalled, release}, Filter{}) }()
	<-stalled
	noise := randomText(1 << 20)
	for seq := uint64(3001); seq <= 3006; seq++ { // the file outgrows its memory map
		receive(t, s, chunk(block(t, seq, reading.Reading{Device: "d", Metric: "m", Value: reading.Bytes(noise)})), 1, 0)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// stallingWriter says when it is written to, and waits before it goes on.
type stallingWriter struct{ stalled, release chan struct{} }

func (w *stallingWriter) Write(b []byte) (int, error) {
	if w.stalled != nil {
		close(w.stalled)
		w.stalled = nil
	}
	<-w.release
	return len(b), nil
}

// The lines are what encoding/json makes of the same values.
func TestRowsAreJSON(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.String().Draw(rt, "text")
		number := rapid.Float64().Draw(rt, "number")
		var row rowWriter
		row.begin(laneID{"g", 1, reading.Bulk})
		row.append(7, &reading.Reading{Device: text, Metric: string(rapid.SliceOf(rapid.Byte()).Draw(rt, "bytes")), Unit: text, Value: reading.Float(number)})
		row.append(8, &reading.Reading{Value: reading.String(text)})
		var got [2]map[string]any
		for i, line := range strings.SplitN(strings.TrimSuffix(string(row.buf), "\n"), "\n", 2) {
			if err := json.Unmarshal([]byte(line), &got[i]); err != nil {
				rt.Fatalf("%s: %v", line, err)
			}
		}
		if got[0]["device"] != text || got[1]["value"] != text {
			rt.Errorf("%q became %q and %q", text, got[0]["device"], got[1]["value"])
		}
		if !math.IsInf(number, 0) && got[0]["value"] != number {
			rt.Errorf("%v became %v", number, got[0]["value"])
		}
	})
}

func TestValuesOfRows(t *testing.T) {
	for _, c := range []struct {
		value reading.Value
		want  string
	}{
		{reading.Float(21.37), `,"value":21.37`},
		{reading.Float(1e6), `,"value":1000000`},
		{reading.Float(1e21), `,"value":1e+21`},
		{reading.Float(-1e-7), `,"value":-1e-07`},
		{reading.Float(math.NaN()), `,"value":"NaN"`},
		{reading.Float(math.Inf(1)), `,"value":"+Inf"`},
		{reading.Float(math.Inf(-1)), `,"value":"-Inf"`},
		{reading.Int(math.MinInt64), `,"value":-9223372036854775808`},
		{reading.Bool(false), `,"value":false`},
		{reading.String("a\xffb"), `,"value":"a` + "\uFFFD" + `b"`},
		{reading.Bytes("\x00\xff"), `,"bytes":"AP8="`},
	} {
		if got := string(appendValue(nil, c.value)); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestFilterFromAQuery(t *testing.T) {
	q, err := url.ParseQuery("gateway=g&lane=bulk&device=d&from=7&since=2023-11-14T22:13:20Z&until=1700000001000000000")
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseFilter(q)
	want := Filter{"g", "bulk", "d", 7, 1_700_000_000_000_000_000, 1_700_000_001_000_000_000}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestReadChunksYieldsThemAll(t *testing.T) {
	file := append(encode(t, chunk(run(t, 1, 5))), encode(t, chunk(run(t, 6, 9)))...)
	s := openStore(t)
	for c, err := range ReadChunks(bytes.NewReader(file)) {
		if err != nil {
			t.Fatal(err)
		}
		receive(t, s, c, uint64(c.Count()), 0)
	}
	wantExport(t, s, Range{1, 9})
	for _, bad := range [][]byte{file[:len(file)-1], file[:len(file)-len(file)/4], append(bytes.Clone(file), 1), append(bytes.Clone(file), make([]byte, 40)...)} {
		var last error
		for _, err := range ReadChunks(bytes.NewReader(bad)) {
			last = err
		}
		if !errors.Is(last, wire.ErrCorrupt) {
			t.Errorf("got %v, want ErrCorrupt", last)
		}
	}
}
