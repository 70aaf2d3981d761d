package cloud

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

const epoch = 0xa1

// openStore opens a store in a folder of the test, without syncs unless the
// test is about them.
func openStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(StoreConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s.db.NoSync = true
	t.Cleanup(func() { s.Close() })
	return s
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// serve starts the routes over the store.
func serve(t testing.TB, s *Store, c ReceiverConfig) *httptest.Server {
	t.Helper()
	r := NewReceiver(c, s, quiet())
	server := httptest.NewServer(Routes(r, s))
	t.Cleanup(func() {
		r.Close()
		server.Close()
	})
	return server
}

// sample is the reading with the number seq: its value says which one it is.
func sample(seq uint64) reading.Reading {
	return reading.Reading{
		Device: "d", Metric: "m", Unit: "Cel",
		Time: 1_700_000_000_000_000_000 + int64(seq)*1_000_000_000, Value: reading.Float(float64(seq) + 0.25),
	}
}

// samples are the readings first to last. Of one device and metric, they keep
// their order in a block.
func samples(first, last uint64) []reading.Reading {
	var rs []reading.Reading
	for seq := first; seq <= last; seq++ {
		rs = append(rs, sample(seq))
	}
	return rs
}

func block(t testing.TB, first uint64, rs ...reading.Reading) wire.Block {
	t.Helper()
	raw, err := wire.NewEncoder().AppendBlock(nil, wire.Header{Epoch: epoch, First: first}, rs)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := wire.ParseBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// run is the block of the samples first to last.
func run(t testing.TB, first, last uint64) wire.Block {
	return block(t, first, samples(first, last)...)
}

func merge(t testing.TB, blocks ...wire.Block) wire.Block {
	t.Helper()
	raw, err := wire.NewMerger().Merge(nil, blocks)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := wire.ParseBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func chunk(blocks ...wire.Block) wire.Chunk { return wire.Chunk{Gateway: "g", Blocks: blocks} }

func encode(t testing.TB, c wire.Chunk) []byte {
	t.Helper()
	raw, err := wire.AppendChunk(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// receive stores the chunk and checks how much of it was new.
func receive(t testing.TB, s *Store, c wire.Chunk, fresh, duplicates uint64) {
	t.Helper()
	got, err := s.Receive(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Result{Fresh: fresh, Duplicates: duplicates}); got != want {
		t.Errorf("%d..%d: got %+v, want %+v", c.First(), c.Last(), got, want)
	}
}

// rows is the export that consists of the samples in the ranges.
func rows(ranges ...Range) string {
	var b strings.Builder
	for _, r := range ranges {
		for seq := r.First; seq <= r.Last; seq++ {
			fmt.Fprintf(&b, `{"gateway":"g","epoch":"00000000000000a1","lane":"normal","seq":%d,"device":"d","metric":"m","unit":"Cel","time":%d,"value":%d.25,"quality":"good"}`+"\n",
				seq, sample(seq).Time, seq)
		}
	}
	return b.String()
}

func exported(t testing.TB, s *Store, f Filter) string {
	t.Helper()
	var out bytes.Buffer
	if err := s.Export(t.Context(), &out, f); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// wantExport checks that the store holds exactly the samples of the ranges.
func wantExport(t testing.TB, s *Store, ranges ...Range) {
	t.Helper()
	if got, want := exported(t, s, Filter{}), rows(ranges...); got != want {
		t.Errorf("export is\n%.2000s\nwant\n%.2000s", got, want)
	}
}

// post sends a body, with pairs of header names and values, and returns status,
// answer and header.
func post(t testing.TB, url, contentType string, body []byte, headers ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/ingest", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(answer)), res.Header
}

// randomText does not compress.
func randomText(n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return string(b)
}
