package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// report collects what the cells find out.
type report struct {
	Began   time.Time `json:"began"`
	Machine string    `json:"machine"`
	Figures []figure  `json:"figures"`
	Tables  []table   `json:"tables"`
}

// figure is one number, mostly with a bar.
type figure struct {
	Cell string `json:"cell"`
	Name string `json:"name"`
	// Value is in Unit.
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Bar   bar     `json:"bar"`
}

// bar is what a figure should reach.
type bar struct {
	// Is says on which side of Limit a figure should be; empty for no bar.
	Is    side    `json:"is,omitempty"`
	Limit float64 `json:"limit,omitempty"`
}

type side string

const (
	atLeast side = ">="
	atMost  side = "<="
)

func noBar() bar              { return bar{} }
func least(limit float64) bar { return bar{atLeast, limit} }
func most(limit float64) bar  { return bar{atMost, limit} }

// holds reports whether the value keeps the bar.
func (r bar) holds(value float64) bool {
	switch r.Is {
	case atLeast:
		return value >= r.Limit
	case atMost:
		return value <= r.Limit
	}
	return true
}

// table is the raw figures behind ratios.
type table struct {
	Cell    string   `json:"cell"`
	Columns []string `json:"columns"` // of the names first, then of the values
	Rows    []row    `json:"rows"`
	Foot    []string `json:"foot,omitempty"`
}

type row struct {
	Names  []string
	Values []float64 // NaN for what there is not
}

// MarshalJSON writes null for NaN, which JSON does not have.
func (r row) MarshalJSON() ([]byte, error) {
	values := make([]*float64, len(r.Values))
	for i, v := range r.Values {
		if !math.IsNaN(v) {
			values[i] = &v
		}
	}
	return json.Marshal(struct {
		Names  []string   `json:"names"`
		Values []*float64 `json:"values"`
	}{r.Names, values})
}

func newReport() report {
	return report{
		Began:   time.Now().Truncate(time.Second),
		Machine: fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
	}
}

func (r *report) add(cell, name string, value float64, unit string, b bar) {
	r.Figures = append(r.Figures, figure{cell, name, value, unit, b})
}

func (r *report) missed() int {
	n := 0
	for _, f := range r.Figures {
		if !f.Bar.holds(f.Value) {
			n++
		}
	}
	return n
}

// writeCell prints what the cell has found.
func (r *report) writeCell(w io.Writer, cell string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, table := range r.Tables {
		if table.Cell == cell {
			table.write(t)
		}
	}
	if slices.ContainsFunc(r.Figures, func(f figure) bool { return f.Cell == cell }) {
		fmt.Fprintf(t, "%s\tmeasured\tbar\t\n", strings.ToUpper(cell))
	}
	for _, f := range r.Figures {
		if f.Cell == cell {
			fmt.Fprintf(t, "%s\t%s %s\t%s\n", f.Name, short(f.Value), f.Unit, f.Bar.verdict(f.Value))
		}
	}
	fmt.Fprintln(t)
	t.Flush()
}

func (t table) write(w io.Writer) {
	fmt.Fprintln(w, strings.Join(t.Columns, "\t"))
	for _, row := range t.Rows {
		fmt.Fprint(w, strings.Join(row.Names, "\t"))
		for _, v := range row.Values {
			fmt.Fprint(w, "\t", short(v))
		}
		fmt.Fprintln(w)
	}
	for _, line := range t.Foot {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
}

func (r bar) verdict(value float64) string {
	if r.Is == "" {
		return ""
	}
	mark := "✓"
	if !r.holds(value) {
		mark = "✗"
	}
	return fmt.Sprintf("%s %s\t%s", r.Is, short(r.Limit), mark)
}

// short writes a value with three digits, and large ones in full.
func short(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	if math.Abs(v) >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// thousands writes a number for people: 1,000,000.
func thousands(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func (r *report) save(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// median returns the middle value, 0 for none.
func median[T cmp.Ordered](values []T) T {
	if len(values) == 0 {
		var none T
		return none
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// medianOf returns the middle one of what the rounds have.
func medianOf[T any](rounds []T, of func(T) float64) float64 {
	var values []float64
	for _, r := range rounds {
		values = append(values, of(r))
	}
	return median(values)
}

// milliseconds turns a duration into a figure.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
