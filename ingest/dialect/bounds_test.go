package dialect

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// fields returns an object with as many fields as decode.JSON takes, of names as
// long as it takes.
func fields() []byte {
	var b strings.Builder
	for i := range 4096 {
		fmt.Fprintf(&b, `,"%s%04d":1`, strings.Repeat("n", 252), i)
	}
	return []byte("{" + b.String()[1:] + "}")
}

// A payload that custody refuses is sent again for ever, so none may give more
// than custody takes at once, in whatever company: the door may have collected
// as much before it.
func TestNoPayloadIsMoreThanCustodyTakes(t *testing.T) {
	buf, err := buffer.Open(buffer.Config{Dir: t.TempDir(), MaxBytes: buffer.MinBytes, Clock: buffer.Clock{
		Uptime: func() time.Duration { return time.Minute }, State: func() wire.ClockState { return wire.Unsynced },
	}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- buf.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	long := strings.Repeat("n", maxMetricName-1)
	for name, frames := range map[string][]frame{
		"many aliases of a long name": {
			{"spBv1.0/g/NBIRTH/n", encodeSparkplug(t, `{"metrics":[{"name":"`+long+`","alias":1,"type":3,"int":1}]}`)},
			{"spBv1.0/g/NDATA/n", repeated(t, `{"alias":1,"int":1}`, 2000)},
		},
		"more of them than it takes": {
			{"spBv1.0/g/NBIRTH/n", encodeSparkplug(t, `{"metrics":[{"name":"`+long+`","alias":1,"type":3,"int":1}]}`)},
			{"spBv1.0/g/NDATA/n", repeated(t, `{"alias":1,"int":1}`, 16000)},
		},
		"many aliases": {
			{"spBv1.0/g/NBIRTH/n", encodeSparkplug(t, `{"metrics":[{"name":"a","alias":1,"type":3,"int":1}]}`)},
			{"spBv1.0/g/NDATA/n", repeated(t, `{"alias":1,"int":1}`, 30000)},
		},
		"an array in a long name":   {{"spBv1.0/g/NBIRTH/n", encodeSparkplug(t, `{"metrics":[{"name":"`+long+`","type":22,"bytes":"`+strings.Repeat("00", 4096)+`"}]}`)}},
		"a long type":               {{"te/device/a///m/" + strings.Repeat("t", maxPrefix), fields()}},
		"a longer type":             {{"te/device/a///m/" + strings.Repeat("t", 60000), fields()}},
		"a long property":           {{"homie/5/d/" + strings.Repeat("n", 60000) + "/p/$datatype", []byte("json")}, {"homie/5/d/" + strings.Repeat("n", 60000) + "/p", fields()}},
		"many fields":               {{"tele/d/SENSOR", fields()}},
		"a will with many devices":  births(t, 5000, 8),
		"a will with long devices":  births(t, 300, 400),
		"a will with longer topics": births(t, 10, 2000),
	} {
		for _, d := range Known() {
			decoder, memory := d.New(), newBook()
			var rs []reading.Reading
			for _, f := range frames {
				rs, _ = decoder.Decode(nil, frameOf(f, memory)) // most dialects refuse most of this
			}
			company := make([]reading.Reading, 4095, 4095+len(rs))
			if _, err := buf.Accept(t.Context(), append(company, rs...)); err != nil {
				t.Errorf("%s, %s: %v", name, d.Name, err)
			}
		}
	}
}

// repeated is a message of one metric, many times.
func repeated(t *testing.T, metric string, times int) []byte {
	t.Helper()
	one := encodeSparkplug(t, `{"metrics":[`+metric+`]}`)
	one = one[:len(one)-2] // without seq
	return []byte(strings.Repeat(string(one), times))
}

// births are those of an edge node's devices, and its will.
func births(t *testing.T, n, length int) []frame {
	t.Helper()
	payload := encodeSparkplug(t, `{"metrics":[]}`)
	all := []frame{{"spBv1.0/g/NBIRTH/n", payload}}
	for i := range n {
		all = append(all, frame{fmt.Sprintf("spBv1.0/g/DBIRTH/n/%0*d", length, i), payload})
	}
	return append(all, frame{"spBv1.0/g/NDEATH/n", payload})
}
