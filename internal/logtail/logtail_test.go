package logtail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// journal is what the handler behind a Tail has written.
func journal(level slog.Level) (*bytes.Buffer, slog.Handler) {
	var b bytes.Buffer
	return &b, slog.NewTextHandler(&b, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
}

// texts are the records as a person reads them.
func texts(records []Record) (all []string) {
	for _, r := range records {
		all = append(all, strings.TrimSpace(r.Level+" "+r.Text+" "+r.About))
	}
	return all
}

func all(t *Tail) []Record {
	return t.After(0, slog.LevelDebug).Records
}

func TestRepeatsAreToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, next := journal(slog.LevelInfo)
		tail := New(next)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- tail.Run(ctx) }()
		log := slog.New(tail)

		for i := range 313 {
			log.With("sink", "cloud").Warn("it broke", "in", time.Duration(i), "err", fmt.Errorf("read 127.0.0.1:%d: reset", i))
			log.Info("it is up", "sink", "cloud") // another kind
		}
		log.With("sink", "spare").Warn("it broke", "in", 1, "err", errors.New("read 127.0.0.1:1: reset")) // another one
		log.Warn("nobody may", "peer", "10.0.0.7:1024")
		log.Warn("nobody may", "peer", "10.0.0.7:1025")
		log.Warn("nobody may", "peer", "10.0.0.8:1024")
		time.Sleep(2 * window)
		log.Info("it is up", "sink", "cloud")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := []string{
			`WARN it broke sink=cloud in=0s err="read 127.0.0.1:0: reset"`,
			`INFO it is up sink=cloud`,
			`WARN it broke sink=spare in=1 err="read 127.0.0.1:1: reset"`,
			`WARN nobody may peer=10.0.0.7:1024`,
			`WARN nobody may peer=10.0.0.8:1024`,
			`WARN it broke … 312 more in 60 s sink=cloud in=312ns err="read 127.0.0.1:312: reset"`,
			`INFO it is up … 312 more in 60 s sink=cloud`,
			`WARN nobody may peer=10.0.0.7:1025`, // just the one
			`INFO it is up sink=cloud`,
		}
		got := texts(all(tail))
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if lines := strings.Count(out.String(), "\n"); lines != len(want) || !strings.Contains(out.String(), `level=WARN msg="it broke … 312 more in 60 s" sink=cloud in=312ns err="read 127.0.0.1:312: reset" repeats=312`) {
			t.Errorf("the journal has %d lines:\n%s", lines, out)
		}
		for _, r := range all(tail) {
			if strings.Contains(r.Text, "…") != (r.Repeats == 312) {
				t.Errorf("%q stands for %d", r.Text, r.Repeats)
			}
		}
	})
}

func TestAnEndTellsOfRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tail := New(slog.DiscardHandler)
		ctx, cancel := context.WithCancel(context.Background())
		for range 4 {
			slog.New(tail).Warn("again")
		}
		cancel()
		if err := tail.Run(ctx); err != nil {
			t.Error(err)
		}
		if got := texts(all(tail)); len(got) != 2 || got[1] != "WARN again … 3 more in 60 s" {
			t.Errorf("got %q", got)
		}
	})
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	out, next := journal(slog.LevelInfo)
	tail := New(next)
	log := slog.New(tail)
	log.Error("the one that matters")
	for i := range 5000 {
		log.Debug(fmt.Sprint("chatter ", i), "payload", strings.Repeat("x", 10_000))
	}
	if got := texts(all(tail)); got[0] != "ERROR the one that matters" {
		t.Errorf("debug has pushed out %q", got[0][:40])
	}
	if strings.Contains(out.String(), "chatter") {
		t.Error("the handler was given a level that it does not want")
	}
	for i := range 5000 {
		log.Info(fmt.Sprint("word ", i), "payload", strings.Repeat("é", i))
	}
	sum := 0
	for _, r := range all(tail) {
		sum += r.size()
		if len(r.About) > longest+len("…") {
			t.Errorf("%d bytes of attributes are kept", len(r.About))
		}
	}
	if records := len(all(tail)); sum > 256<<10 || records > mostRecords+mostDebugRecords {
		t.Errorf("%d records, %d bytes", records, sum)
	}
	if tail.repeats.all = nil; tail.usual.size+tail.debug.size != sum {
		t.Errorf("sizes add up to %d, and are taken for %d", sum, tail.usual.size+tail.debug.size)
	}
}

func TestAReaderGoesOnWhereItWas(t *testing.T) {
	tail := New(slog.DiscardHandler)
	log := slog.New(tail)
	for i := range 10 {
		log.Info(fmt.Sprint("info ", i))
		log.Debug(fmt.Sprint("debug ", i))
	}
	part := tail.After(0, slog.LevelDebug)
	records := part.Records
	if len(records) != 20 || part.Missed || records[0].Text != "info 0" || records[1].Text != "debug 0" {
		t.Fatalf("%d records, missed %v: %q", len(records), part.Missed, texts(records)[:2])
	}
	place := records[9].N
	if rest := tail.After(place, slog.LevelInfo); len(rest.Records) != 5 || rest.Missed || rest.Records[0].Text != "info 5" {
		t.Errorf("after the tenth there are %q, missed %v", texts(rest.Records), rest.Missed)
	}
	select {
	case <-part.Changed:
		t.Error("nothing has changed")
	default:
	}
	log.WithGroup("port").With("name", "a").Warn("and more", "n", 1)
	<-part.Changed
	if rest := tail.After(part.Place, slog.LevelWarn).Records; len(rest) != 1 || rest[0].About != "port.name=a port.n=1" {
		t.Errorf("got %q", texts(rest))
	}
	for i := range 2 * mostRecords {
		log.Info(fmt.Sprint("flood ", i))
	}
	if rest := tail.After(place, slog.LevelInfo); !rest.Missed || len(rest.Records) != mostRecords {
		t.Errorf("%d records, missed %v", len(rest.Records), rest.Missed)
	}
	if rest := tail.After(math.MaxUint64, slog.LevelInfo); rest.Missed || len(rest.Records) != mostRecords {
		t.Errorf("a number of another life: %d records, missed %v", len(rest.Records), rest.Missed)
	}
	// Who wants warnings only, and keeps up, misses no flood of others.
	part = tail.After(0, slog.LevelWarn)
	for i := range 2 * mostRecords {
		log.Info(fmt.Sprint("more ", i))
		if part = tail.After(part.Place, slog.LevelWarn); part.Missed || len(part.Records) > 0 {
			t.Fatalf("missed %v, %q", part.Missed, texts(part.Records))
		}
	}
	later := func() time.Time { return time.Now().Add(time.Second) }
	if next := newTail(slog.DiscardHandler, later); next.last < place {
		t.Errorf("the next life begins at %d, behind %d of this one", next.last, place)
	}
}

func TestManyKindsAtOnceAreBounded(t *testing.T) {
	tail := New(slog.DiscardHandler)
	for i := range 10 * mostKinds {
		slog.New(tail).Info(fmt.Sprint("kind ", i))
	}
	if n := len(tail.repeats.all); n != mostKinds {
		t.Errorf("%d kinds are watched", n)
	}
	if n := len(all(tail)); n != mostRecords {
		t.Errorf("%d records", n)
	}
}

func BenchmarkRepeat(b *testing.B) {
	log := slog.New(New(slog.DiscardHandler))
	b.ReportAllocs()
	for b.Loop() {
		log.Warn("it broke and will be started again", "sink", "cloud", "err", context.Canceled)
	}
}
