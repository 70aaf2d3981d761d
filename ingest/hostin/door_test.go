package hostin

import (
	"context"
	"errors"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// still is a machine on which nothing happens.
func still() Config {
	m := machine{roots: fstest.MapFS{"proc/uptime": &fstest.MapFile{Data: []byte("7.5 3\n")}, "sys/x": {}}}
	c := m.config()
	c.Every, c.Disk = 10*time.Second, nil
	return c
}

func TestTheFirstReadingsComeAtOnceAndTheRestInTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		began := time.Now()
		c := still()
		c.Show = func(rs []reading.Reading) {
			if len(rs) != 1 || rs[0].Metric != "uptime" {
				t.Errorf("shown: %+v", rs)
			}
			at = append(at, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
		defer cancel()
		if err := New(c).Run(ctx, nil); err != nil { // without an intake: what is shown goes no other way
			t.Error(err)
		}
		want := []time.Duration{settling, settling + 10*time.Second, settling + 20*time.Second}
		if len(at) != len(want) {
			t.Fatalf("shown after %v, want %v", at, want)
		}
		for i := range want {
			if at[i] != want[i] {
				t.Errorf("shown after %v, want %v", at, want)
			}
		}
	})
}

func TestWhatIsKeptGoesThroughTheIntake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		custody := ingesttest.NewCustody() // whose receipts never resolve
		intake := ingest.NewIntake(custody, nil, time.Now)
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := New(still()).Run(ctx, intake); err != nil {
			t.Error(err)
		}
		if n := len(custody.Taken(t, 2)); n != 2 {
			t.Errorf("%d readings were taken, want 2", n)
		}
	})
}

func TestAFullBufferDoesNotBreakTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		custody := ingesttest.NewCustody()
		custody.Refuse(ingest.ErrFull)
		intake := ingest.NewIntake(custody, nil, time.Now)
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := New(still()).Run(ctx, intake); err != nil || intake.Stats().Refused != 2 {
			t.Errorf("%v, %d readings refused, want 2", err, intake.Stats().Refused)
		}
		broken := errors.New("the journal is closed")
		custody.Refuse(broken)
		if err := New(still()).Run(context.Background(), intake); !errors.Is(err, broken) {
			t.Errorf("run: %v, want %v", err, broken)
		}
	})
}

func BenchmarkLook(b *testing.B) {
	s := New(Config{Device: "here"})
	b.ReportAllocs()
	for b.Loop() {
		s.look(time.Now())
	}
}
