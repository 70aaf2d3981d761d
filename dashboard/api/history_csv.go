package api

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/reading"
)

// isoMillis is how times are written: ISO 8601 with milliseconds, UTC.
const isoMillis = "2006-01-02T15:04:05.000Z"

// csvBytes is how much of a copy is written at once.
const csvBytes = 32 << 10

// copyHistory writes a series as RFC 4180, in the order in which it was taken into
// custody, for as long as somebody reads it. What cannot be read is left out, and the
// last row says so.
func copyHistory(ctx context.Context, w io.Writer, b *buffer.Buffer, q historyQuery) error {
	body := bufio.NewWriterSize(w, csvBytes)
	out := csv.NewWriter(body)
	out.UseCRLF = true
	row := []string{"time", "device", "metric", "unit", "value", "kind", "quality", "clock", "lane", "epoch", "seq"}
	if err := out.Write(row); err != nil {
		return err
	}
	_, err := b.Series(ctx, buffer.SeriesQuery{Series: q.series, From: q.from, To: q.to}, func(s buffer.Sample) error {
		value, kind := CSVValue(s.Value)
		row = append(row[:0], time.Unix(0, s.Time).UTC().Format(isoMillis), CSVText(q.series.Device), CSVText(q.series.Metric), CSVText(q.series.Unit), value, kind,
			QualityName(s.Flags), s.Clock.String(), s.Lane.String(), fmt.Sprintf("%016x", s.Epoch), strconv.FormatUint(s.Seq, 10))
		return out.Write(row)
	})
	if errors.Is(err, buffer.ErrLeftOut) {
		err = out.Write([]string{"", "", "", "", err.Error(), "error", "", "", "", "", ""})
	}
	out.Flush()
	return errors.Join(err, out.Error())
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

// CSVText returns a text that others have chosen, as a CSV file has it: what a
// spreadsheet would take for a formula, and what begins with an apostrophe, gets an
// apostrophe in front.
func CSVText(text string) string {
	if text != "" && strings.IndexByte("=+-@\t\r\n'", text[0]) >= 0 {
		return "'" + text
	}
	return text
}

// CSVValue returns the value as a CSV file has it, and its kind; bytes are in
// base64.
func CSVValue(v reading.Value) (value, kind string) {
	switch v.Kind() {
	case reading.KindBytes:
		return base64.StdEncoding.EncodeToString([]byte(v.Text())), "bytes"
	case reading.KindString:
		return CSVText(v.Text()), "string"
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
