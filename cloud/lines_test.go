package cloud

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/wire"
)

// storeLines stores what a file of lines holds, and returns its errors.
func storeLines(t testing.TB, s *Store, text string) []error {
	t.Helper()
	var all []error
	for c, err := range ReadLines(strings.NewReader(text)) {
		if err == nil {
			_, err = s.Receive(t.Context(), c)
		}
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// What was exported can be imported, and is then the same.
func TestLinesOfAnExportComeBack(t *testing.T) {
	s := openStore(t)
	if err := storeLines(t, s, rows(Range{1, 10}, Range{12, 20_000})); err != nil {
		t.Error(err)
	}
	wantExport(t, s, Range{1, 10}, Range{12, 20_000})
	if err := storeLines(t, s, rows(Range{5, 10})+"\r\n\n"); err != nil {
		t.Error(err)
	}
	wantExport(t, s, Range{1, 10}, Range{12, 20_000}) // once more: each counts once
	lanes, err := s.Ledger()
	if err != nil || lanes[0].Duplicates != 6 {
		t.Errorf("%+v, %v", lanes, err)
	}
}

// Lines of several gateways, epochs and lanes, in any order, and documents between.
func TestLinesMayBeMixed(t *testing.T) {
	s := openStore(t)
	other := strings.ReplaceAll(rows(Range{1, 3}), `"gateway":"g"`, `"gateway":"h"`)
	alarm := strings.ReplaceAll(rows(Range{1, 2}), `"lane":"normal"`, `"lane":"alarm"`)
	document := `{"gateway":"g","epoch":"00000000000000a1","lane":"bulk","first":7,"last":7,"readings":[{"seq":7,"device":"d","metric":"m","time":1,"value":1}]}` + "\n"
	if err := storeLines(t, s, rows(Range{4, 6})+other+rows(Range{1, 3})+document+alarm); err != nil {
		t.Error(err)
	}
	var got []string
	lanes, err := s.Ledger()
	for _, l := range lanes {
		got = append(got, fmt.Sprint(l.Gateway, " ", l.Lane, " ", l.Ranges))
	}
	slices.Sort(got)
	if want := []string{"g alarm [{1 2}]", "g bulk [{7 7}]", "g normal [{1 6}]", "h normal [{1 3}]"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

// What is damaged is left out and named; nothing beside it is.
func TestLinesThatAreDamaged(t *testing.T) {
	one, three := rows(Range{1, 1}), rows(Range{3, 3})
	for name, c := range map[string]struct {
		bad  string
		want string
	}{
		"zeros":      {"\x00\x00\x00\n", fmt.Sprintf("bytes %d to %d are damaged", len(one), len(one)+3)},
		"no object":  {"[1]\n", fmt.Sprintf("bytes %d to %d are damaged", len(one), len(one)+3)},
		"too long":   {strings.Repeat("x", maxLine+9) + "\n", "are damaged"},
		"no value":   {strings.Replace(rows(Range{2, 2}), `"value":2.25,`, "", 1), "reading 2 of g"},
		"no lane":    {strings.Replace(rows(Range{2, 2}), `normal`, "fast", 1), "reading 2 of g"},
		"a document": {`{"gateway":"g","readings":[]}` + "\n", fmt.Sprintf("line at byte %d", len(one))},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			errs := storeLines(t, s, one+c.bad+three)
			if len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want) || !errors.Is(errs[0], wire.ErrCorrupt) {
				t.Errorf("%v, want %q", errs, c.want)
			}
			wantExport(t, s, Range{1, 1}, Range{3, 3})
		})
	}
	s := openStore(t)
	errs := storeLines(t, s, one+three[:30])
	var cut *Damage
	if len(errs) != 1 || !errors.As(errs[0], &cut) || !cut.Cut || cut.From != int64(len(one)) || cut.To != int64(len(one))+30 {
		t.Errorf("%v", errs)
	}
	wantExport(t, s, Range{1, 1})
}

// FuzzReadLines: whatever a file holds, what is read from it can be stored, and it
// ends.
func FuzzReadLines(f *testing.F) {
	f.Add(rows(Range{1, 3}) + "x\n" + rows(Range{2, 2}))
	f.Add(`{"gateway":"g","epoch":"00000000000000a1","lane":"bulk","first":7,"last":7,"readings":[{"seq":7,"device":"d","metric":"m","time":1,"value":1}]}`)
	v, shared := &verifier{}, &transcoder{} // they are dear to make
	f.Fuzz(func(t *testing.T, text string) {
		lines := 0
		for c, err := range readLines(strings.NewReader(text), shared) {
			if lines++; err != nil {
				if !errors.Is(err, wire.ErrCorrupt) {
					t.Errorf("%v", err)
				}
				continue
			}
			if err := v.verify(&delivery{chunk: c}, time.Now()); err != nil && c.Last() <= maxSeq {
				t.Errorf("%v", err)
			}
		}
		if lines > 2*strings.Count(text, "\n")+2 {
			t.Errorf("%d answers to %d lines", lines, strings.Count(text, "\n"))
		}
	})
}
