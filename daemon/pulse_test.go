package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/internal/sdnotify"
	"github.com/tidegate/tidegate/reading"
)

// A gateway whose commits nobody makes any more: the goroutine is stuck, or its lock is.
func TestADeadlockIsFound(t *testing.T) {
	for name, mqtt := range map[string]string{"with a broker": "127.0.0.1:0", "without one": ""} {
		r := &gatewayHere{T: t, dir: t.TempDir(), mqtt: mqtt}
		d, err := New(r.config(""), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer d.closeListeners()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := d.prove(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v", name, err)
		}
		if err := d.buffer.Close(); err != nil {
			t.Fatal(err)
		}
		if err := d.prove(t.Context()); mqtt == "" && err != nil {
			t.Errorf("%s: the buffer says that it is closed, and that is no deadlock: %v", name, err)
		}
	}
}

func TestAGatewayThatWorksProvesIt(t *testing.T) {
	for name, more := range map[string]string{
		"alone":         "",
		"gently":        "[buffer]\nprofile = \"gentle\"\ncommit_interval = \"1s\"\n",
		"with a trial":  twoLinks,
		"with commands": "[command]\nallow = [\"a/#\"]\n[[command.http]]\nname = \"a\"\nurl = \"http://127.0.0.1:1/\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := runGateway(t, more)
			r.current().broker().Addr(t.Context())
			for range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				if err := r.prove(ctx); err != nil {
					t.Error(err)
				}
				cancel()
			}
		})
	}
}

// Its address is another's, or not there: the other doors work.
func TestADoorThatCannotOpenIsNoDeadlock(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := runGateway(t, "")
	if err := r.become(r.config("[ingest.http]\nlisten = \"127.0.0.1:0\"\n")); err != nil {
		t.Fatal(err)
	}
	r.current().broker() // opens later, or not at all
	r.spells.end("source", "mqtt", errors.New("its address is another's"))
	if err := r.prove(t.Context()); err != nil {
		t.Error(err)
	}
	line := r.condition(time.Now())
	if !strings.HasPrefix(line, "mqtt is not open: its address is another's; ") {
		t.Errorf("said %q", line)
	}
}

func TestWhatTechniciansRead(t *testing.T) {
	r := runGateway(t, "")
	if got, want := r.condition(time.Now()), "0 readings are kept, and there is no uplink to send them to"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	receipt, err := r.buffer.Accept(t.Context(), []reading.Reading{{Device: "a", Metric: "m", Time: 1, Value: reading.Float(1)}})
	if err == nil {
		err = receipt.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.condition(time.Now()), "1 readings are kept, and there is no uplink to send them to"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for d, want := range map[time.Duration]string{
		59 * time.Second: "less than a minute", 61 * time.Second: "1 min", 90 * time.Minute: "1 h", 47 * time.Hour: "47 h", 49 * time.Hour: "2 days",
	} {
		if got := roughly(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

// An idle gateway sends no more probes than it must, and one that does not answer is
// asked more often, and does not flood the log.
func TestTheRhythmOfProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		d := &Daemon{log: slog.New(slog.NewTextHandler(&said, nil)), watch: &watch{}}
		if next := (&pulse{Daemon: d}).beat(t.Context()); next < 24*time.Hour {
			t.Errorf("nobody watches, and the next probe is in %v", next)
		}
		silent := errors.New("silent")
		answer := silent
		p := &pulse{Daemon: d, within: 2 * time.Minute, probe: func(context.Context) error { return answer }}
		for range 10 {
			if next := p.beat(t.Context()); next != 3*time.Second {
				t.Errorf("silent: next in %v", next)
			}
			time.Sleep(3 * time.Second)
		}
		answer = nil
		for range 2 {
			if next := p.beat(t.Context()); next != 30*time.Second {
				t.Errorf("next in %v", next)
			}
			time.Sleep(20 * time.Second)
			if next := p.beat(t.Context()); next != 10*time.Second {
				t.Errorf("too early, next in %v", next)
			}
			time.Sleep(10 * time.Second)
		}
		if n := strings.Count(said.String(), "\n"); n != 2 {
			t.Errorf("said %d lines, want one that it is silent and one that it is not:\n%s", n, &said)
		}
	})
}

func TestASystemdThatCannotBeReachedIsSaidOnce(t *testing.T) {
	var said strings.Builder
	d := &Daemon{log: slog.New(slog.NewTextHandler(&said, nil)), watch: &watch{}}
	gone, err := sdnotify.FromEnvironment(func(name string) string {
		return map[string]string{"NOTIFY_SOCKET": t.TempDir() + "/gone"}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		d.heed(gone.Alive())
	}
	d.heed(nil)
	d.heed(io.EOF)
	if n := strings.Count(said.String(), "\n"); n != 2 {
		t.Errorf("said %d lines:\n%s", n, &said)
	}
}
