package modbusin

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// TestStoppingDoesNotWaitForASlave that takes a minute, or says nothing.
func TestStoppingDoesNotWaitForASlave(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		p.script = func(asked) []reply { return []reply{} }
		slave := words(1, 0)
		slave.Timeout = time.Minute
		s := run(t, p.config(slave))
		time.Sleep(5 * time.Second)
		stopped := time.Now()
		if err := s.stop(); err != nil || time.Since(stopped) > time.Millisecond {
			t.Errorf("%v, after %v", err, time.Since(stopped))
		}
	})
}

// TestTroubleOfTheLineIsTold, and only while there is some.
func TestTroubleOfTheLineIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{took: time.Millisecond}
		p.script = func(asked) []reply {
			p.mu.Lock()
			defer p.mu.Unlock()
			if conn := p.conns[0]; len(p.conns) == 1 {
				time.AfterFunc(time.Millisecond, func() { conn.Close() })
				return []reply{}
			}
			return nil
		}
		s, err := New(p.config(words(1, 0)), quietLog())
		if err != nil {
			t.Fatal(err)
		}
		intake := ingest.NewIntake(&sink{}, nil, time.Now)
		if err := s.Run(t.Context(), intake); err == nil {
			t.Fatal("it goes on")
		}
		if got := s.Stats().Trouble; !strings.Contains(got, "has ended the connection (EOF) — hint: ") {
			t.Errorf("%q", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := s.Run(ctx, intake); err != nil || s.Stats().Trouble != "" {
			t.Errorf("%v, %q", err, s.Stats().Trouble)
		}
	})
}

// TestTheWrongMapDoesNotFloodTheLog: none of its registers is there.
func TestTheWrongMapDoesNotFloodTheLog(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		p.script = func(q asked) []reply { return []reply{{time.Millisecond, p.frame(q, q.exception(2))}} }
		var log bytes.Buffer
		custody := ingesttest.NewCustody()
		s := runInto(t, p.config(words(1, upTo(2000)...)), custody, slog.New(slog.NewTextHandler(&log, nil)))
		time.Sleep(6 * time.Hour)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if n := strings.Count(log.String(), "\n"); n != maxWarned+1 || !strings.Contains(log.String(), "is it the map of this device?") {
			t.Errorf("%d lines:\n%.2000s", n, log.String())
		}
		if st := s.Stats().Slaves[0]; st.Bad != 2000 || !st.Up || st.Asked > 60_000 {
			t.Errorf("%+v", st)
		}
	})
}
