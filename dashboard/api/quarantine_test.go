package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/reading"
)

// refuseNext has the sink refuse the next block.
func (s *shore) refuseNext(sink, reason string) (raw []byte) {
	s.Helper()
	c := s.Cursor(sink)
	blocks, err := c.Next(s.Context(), reading.LanesOf(reading.Normal), 1)
	if err == nil {
		err = s.Buffer.Quarantine(sink, blocks[0], reason)
	}
	if err == nil {
		err = c.Ack(blocks[0].Lane, blocks[0].First, blocks[0].Last())
	}
	if err != nil {
		s.Fatal(err)
	}
	return blocks[0].Raw
}

// request asks the routes of the quarantine; into is what a good answer is read as.
func (s *shore) request(method, path string, body, into any) (code int, refusal string) {
	s.Helper()
	mux := http.NewServeMux()
	for _, r := range Quarantine(s.Buffer) {
		if want := dashboard.Operate; (r.Access == want) != strings.HasPrefix(r.Pattern, "POST ") {
			s.Errorf("%s is for %v", r.Pattern, r.Access)
		}
		mux.Handle(r.Pattern, r.Handler)
	}
	text, err := json.Marshal(body)
	if err != nil {
		s.Fatal(err)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), method, path, bytes.NewReader(text)))
	if w.Code != http.StatusOK {
		return w.Code, RefusalOf(w.Body)
	}
	if err := json.NewDecoder(w.Body).Decode(into); err != nil {
		s.Fatal(err)
	}
	return w.Code, ""
}

func TestQuarantineIsListedReadInPagesAndChanged(t *testing.T) {
	s := newShore(t)
	var many []reading.Reading
	for i := range 2*heldPage + 50 {
		many = append(many, temp(1e18+int64(i)*1e6, reading.Int(int64(i))))
	}
	s.take(many...)
	s.take(reading.Reading{Device: "door", Metric: "open", Time: 2e18, Value: reading.Bool(false), Flags: reading.Bad})
	raw := s.refuseNext("cloud", "field type conflict")
	s.refuseNext("cloud", "no such device")

	var all []SetAside
	if code, _ := s.request("GET", "/api/v1/quarantine", nil, &all); code != 200 || len(all) != 2 {
		t.Fatalf("%d: %+v", code, all)
	}
	if one := all[0]; one.ID != "cloud/normal/1" || one.Sink != "cloud" || one.Lane != "normal" || one.First != 1 || one.Last != 450 || one.Count != 450 || one.Bytes != len(raw) ||
		one.From != 1e12 || one.To != 1e12+449 || one.At == 0 || one.Reason != "field type conflict" || one.Retry || one.Raw != nil || one.Readings != nil {
		t.Errorf("%+v", one)
	}

	var values []float64
	for path := "/api/v1/quarantine/cloud/normal/1"; path != ""; {
		var page SetAside
		if code, text := s.request("GET", path, nil, &page); code != 200 || len(page.Readings) > heldPage {
			t.Fatalf("%d: %s, a page of %d", code, text, len(page.Readings))
		}
		for _, r := range page.Readings {
			if r.Seq != uint64(len(values))+1 || r.Device != "boiler" || r.Unit != "Cel" || r.Time != 1e12+int64(len(values)) {
				t.Fatalf("%+v", r)
			}
			values = append(values, r.Value.(float64))
		}
		path = ""
		if page.After != 0 {
			path = fmt.Sprint("/api/v1/quarantine/cloud/normal/1?after=", page.After)
		}
	}
	if len(values) != len(many) || values[449] != 449 {
		t.Errorf("%d values", len(values))
	}
	var block SetAside
	if s.request("GET", "/api/v1/quarantine/cloud/normal/1?raw=1", nil, &block); !bytes.Equal(block.Raw, raw) || block.Readings != nil {
		t.Errorf("the block itself: %+v", block)
	}
	if s.request("GET", "/api/v1/quarantine/cloud/normal/451", nil, &block); len(block.Readings) != 1 || block.Readings[0].Value != false || block.Readings[0].Quality != "bad" || block.After != 0 {
		t.Errorf("a lone reading: %+v", block)
	}

	s.changeQuarantine(all)
}

// changeQuarantine sends the first of two blocks again, and drops the second.
func (s *shore) changeQuarantine(all []SetAside) {
	if code, text := s.request("POST", "/api/v1/quarantine/retry", []string{all[0].ID}, &struct{}{}); code != 200 {
		s.Errorf("retry: %d %s", code, text)
	}
	if s.request("GET", "/api/v1/quarantine", nil, &all); !all[0].Retry || all[1].Retry {
		s.Errorf("%+v", all)
	}
	if code, text := s.request("POST", "/api/v1/quarantine/drop", []string{all[1].ID}, &struct{}{}); code != 200 {
		s.Errorf("drop: %d %s", code, text)
	}
	if s.request("GET", "/api/v1/quarantine", nil, &all); len(all) != 1 {
		s.Errorf("%+v", all)
	}
}

func TestQuarantineRefusesWhatMakesNoSense(t *testing.T) {
	s := newShore(t)
	s.take(temp(1e18, reading.Float(1)))
	s.refuseNext("cloud", "no")
	for _, tt := range []struct {
		method, path string
		body         any
		code         int
		want         string
	}{
		{"GET", "/api/v1/quarantine/cloud/normal/2", nil, 404, "there is no such block in quarantine"},
		{"GET", "/api/v1/quarantine/cloud/urgent/1", nil, 404, "hint: "},
		{"GET", "/api/v1/quarantine/cloud/normal/1?after=x", nil, 400, `after: "x"`},
		{"POST", "/api/v1/quarantine/retry", []string{"cloud/normal/2"}, 404, "hint: "},
		{"POST", "/api/v1/quarantine/drop", []string{"cloud/normal/1", "nothing"}, 404, "hint: "},
		{"POST", "/api/v1/quarantine/drop", map[string]int{"a": 1}, 400, "the request's body"},
	} {
		if code, text := s.request(tt.method, tt.path, tt.body, &struct{}{}); code != tt.code || !strings.Contains(text, tt.want) {
			t.Errorf("%s %s: %d %s; want %d %s", tt.method, tt.path, code, text, tt.code, tt.want)
		}
	}
	var all []SetAside
	if s.request("GET", "/api/v1/quarantine", nil, &all); len(all) != 1 {
		t.Errorf("something was changed: %+v", all)
	}
	var page SetAside
	if s.request("GET", "/api/v1/quarantine/cloud/normal/1?after=99999", nil, &page); page.Readings != nil || page.After != 0 {
		t.Errorf("behind the end: %+v", page)
	}
}
