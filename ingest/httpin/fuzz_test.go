package httpin

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// FuzzBody unpacks what strangers send: no more than a body may have comes of it,
// and what it took of the budget is given back.
func FuzzBody(f *testing.F) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	zip.Write([]byte(`{"temp":21.5}`))
	zip.Close()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("", []byte("1"), false)
	f.Add("gzip", packed.Bytes(), false)
	f.Add("zstd", encoder.EncodeAll([]byte(`{"temp":21.5}`), nil), true)
	f.Add("zstd", encoder.EncodeAll(make([]byte, 1000), nil), true)
	unzstd, err := newUnzstd()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(unzstd.Close)
	const most = 500
	source := New(Config{MaxBody: most}, discard())
	d := &door{Source: source, room: newBudget(source.cfg.MaxInFlight), unzstd: unzstd}
	f.Fuzz(func(t *testing.T, coding string, b []byte, announced bool) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if !announced {
			r.ContentLength = -1
		}
		r.Header.Set("Content-Encoding", coding)
		bill := &bill{from: d.room}
		body, refused := d.readBody(r, bill)
		if len(body) > most || refused != nil && body != nil || refused == nil && coding == "" && !bytes.Equal(body, b) {
			t.Fatalf("%d bytes, %v", len(body), refused)
		}
		if bill.taken < cap(body) || bill.taken > 2*len(b)+3*most+zstdBlock+gunzipper {
			t.Fatalf("%d bytes are on the bill for %d", bill.taken, len(b))
		}
		if bill.pay(); d.room.left.Load() != int64(source.cfg.MaxInFlight) {
			t.Fatal("the budget has changed")
		}
	})
}
