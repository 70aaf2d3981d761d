package api

import (
	"bufio"
	"encoding/base64"
	"encoding/csv"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/reading"
)

// isoMillis is how times are written: ISO 8601 with milliseconds, UTC.
const isoMillis = "2006-01-02T15:04:05.000Z"

// csvGrace is how long a reader of a copy may take for what fits into csvBytes.
const (
	csvGrace = 30 * time.Second
	csvBytes = 32 << 10
)

// copyHistory writes a series as RFC 4180, in the order in which it was taken into
// custody, for as long as somebody reads it. The last row of a copy that is not
// complete says so.
func copyHistory(w http.ResponseWriter, r *http.Request, b *buffer.Buffer, q historyQuery, gateway string) {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Disposition", `attachment; filename="`+copyName(gateway, q.series)+`"`)
	body := bufio.NewWriterSize(&patient{w, http.NewResponseController(w)}, csvBytes)
	out := csv.NewWriter(body)
	out.UseCRLF = true
	row := []string{"time", "device", "metric", "unit", "value", "kind", "quality", "clock", "lane", "epoch", "seq"}
	_ = out.Write(row) // the next one fails as well
	_, err := b.Series(r.Context(), buffer.SeriesQuery{Series: q.series, From: q.from, To: q.to}, func(s buffer.Sample) error {
		value, kind := CSVValue(s.Value)
		row = append(row[:0], time.Unix(0, s.Time).UTC().Format(isoMillis), q.series.Device, q.series.Metric, q.series.Unit, value, kind,
			QualityName(s.Flags), s.Clock.String(), s.Lane.String(), fmt.Sprintf("%016x", s.Epoch), strconv.FormatUint(s.Seq, 10))
		return out.Write(row)
	})
	if err != nil && r.Context().Err() == nil {
		_ = out.Write([]string{"", "", "", "", err.Error(), "error", "", "", "", "", ""})
	}
	out.Flush() // an error means that nobody reads any more
}

// patient gives each write a time of its own: all of a copy may take longer than
// the server allows an answer.
type patient struct {
	http.ResponseWriter
	deadline *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	_ = p.deadline.SetWriteDeadline(time.Now().Add(csvGrace)) // where there is none, none ends the copy
	return p.ResponseWriter.Write(b)
}

// copyName names the file after the gateway and the series, in characters that
// every system takes.
func copyName(gateway string, s reading.Series) string {
	name := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c) {
			return c
		}
		return '-'
	}, gateway+"_"+s.Device+"_"+s.Metric)
	return name[:min(len(name), 120)] + ".csv"
}

// CSVValue returns the value as a CSV file has it, and its kind; bytes are in
// base64.
func CSVValue(v reading.Value) (value, kind string) {
	switch v.Kind() {
	case reading.KindBytes:
		return base64.StdEncoding.EncodeToString([]byte(v.Text())), "bytes"
	case reading.KindString:
		return v.Text(), "string"
	case reading.KindBool:
		return v.String(), "bool"
	case reading.KindInt:
		return v.String(), "int"
	}
	return v.String(), "float"
}

// QualityName returns "good", "uncertain" or "bad".
func QualityName(f reading.Flags) string {
	switch f.Quality() {
	case 0:
		return "good"
	case reading.Uncertain:
		return "uncertain"
	}
	return "bad"
}
