package linein

import (
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// event is what a scripted connection does next: after a while, bytes or an error.
type event struct {
	after time.Duration
	text  string
	err   error
}

// scripted is a connection on which things happen at given times.
type scripted struct {
	net.Conn
	events   []event
	next     time.Time // when the first of them happens
	deadline time.Time
	// late is how much later than due the next deadline is noticed.
	late time.Duration
}

func (s *scripted) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (s *scripted) SetReadDeadline(t time.Time) error { s.deadline = t; return nil }

func (s *scripted) Read(b []byte) (int, error) {
	e, late := s.events[0], s.late > 0 && !s.next.IsZero()
	if s.next.IsZero() {
		s.next = time.Now()
	}
	due := s.next.Add(e.after)
	if s.deadline.Before(due) || late {
		time.Sleep(time.Until(s.deadline) + s.late) // in a bubble
		s.late = 0
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(time.Until(due))
	s.events, s.next = s.events[1:], due
	return copy(b, e.text), e.err
}

// hear runs a connection over a framing that silence ends, and returns the values.
func hear(t *testing.T, cfg Config, custody *ingesttest.Custody, conn *scripted) []string {
	t.Helper()
	cfg.Framing.Kind = frame.Gap
	return hearIn(t, cfg, custody, conn, nil)
}

// hearIn runs a connection, and something else beside it, and returns the values.
func hearIn(t *testing.T, cfg Config, custody *ingesttest.Custody, conn *scripted, beside func(*door)) (all []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(newSource(t, cfg), ingest.NewIntake(custody, nil, time.Now))
		if beside != nil {
			go beside(d)
		}
		_ = newStream(d, conn).run(t.Context())
		for _, r := range custody.Taken(t, 0) {
			all = append(all, r.Metric+"="+r.Value.String())
		}
	})
	return all
}

// hearStats runs a connection, and returns the values and the counts.
func hearStats(t *testing.T, cfg Config, conn *scripted) (all []string, s Stats) {
	t.Helper()
	var source *Source
	all = hearIn(t, cfg, committing(), conn, func(d *door) { source = d.Source })
	return all, source.Stats()
}

func committing() *ingesttest.Custody {
	c := ingesttest.NewCustody()
	c.CommitAtOnce()
	return c
}

// The end of a connection ends a frame only where the peer has said his last:
// else "21" may be the first half of "21.5".
func TestOnlyAnOrderlyEndIsASilence(t *testing.T) {
	for err, want := range map[error][]string{
		io.EOF:              {"m=1", "m=21"},
		syscall.ECONNRESET:  {"m=1"},
		net.ErrClosed:       {"m=1"}, // by the gateway's stop
		io.ErrUnexpectedEOF: {"m=1"}, // of TLS
	} {
		got := hear(t, config(), committing(), &scripted{events: []event{{text: "1"}, {after: time.Second, text: "21"}, {err: err}}})
		if !slices.Equal(got, want) {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

// A silence is not missed because much was said before it.
func TestShortSilencesCountAfterMuch(t *testing.T) {
	long := string(slices.Repeat([]byte("1"), smallRead))
	cfg := config()
	cfg.Target.Decoder, cfg.Silence = lengths{}, 4*time.Millisecond
	got := hear(t, cfg, committing(), &scripted{events: []event{
		{text: long}, {after: time.Millisecond, text: long}, {after: 6 * time.Millisecond, text: "1"}, {after: time.Second, err: io.EOF},
	}})
	if want := []string{"n=2048", "n=1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What came while nobody could look may be one frame or several: "21" and "22" are
// not 2122. It is kept whole.
func TestWhatCameWhileNobodyCouldLookIsNotGuessed(t *testing.T) {
	opaque := func(s string) string { return "raw=" + reading.Bytes(s).String() }
	for name, c := range map[string]struct {
		conn  *scripted
		stall time.Duration // of custody, once
		want  []string
	}{
		"custody was busy": {
			&scripted{events: []event{{text: "1"}, {after: 200 * time.Millisecond, text: "2"}, {after: time.Second, text: "3"}, {after: time.Second, text: "4"}, {after: time.Second, err: io.EOF}}},
			1500 * time.Millisecond, []string{"m=1", opaque("23"), "m=4"},
		},
		"nothing came meanwhile": {
			&scripted{events: []event{{text: "1"}, {after: 10 * time.Second, text: "2"}, {after: time.Second, err: io.EOF}}},
			1500 * time.Millisecond, []string{"m=1", "m=2"},
		},
		"this program was starved": {
			&scripted{late: 50 * time.Millisecond, events: []event{{text: "2"}, {after: 90 * time.Millisecond, text: "1.5"}, {after: time.Second, text: "3"}, {after: time.Second, err: io.EOF}}},
			0, []string{opaque("21.5"), "m=3"},
		},
		"it was, and nothing came": {
			&scripted{late: 50 * time.Millisecond, events: []event{{text: "2"}, {after: time.Second, text: "3"}, {after: time.Second, err: io.EOF}}},
			0, []string{"m=2", "m=3"},
		},
	} {
		cfg, custody := config(), committing()
		if c.stall > 0 {
			cfg.Target.Decoder = &busy{Decoder: cfg.Target.Decoder, once: c.stall}
		}
		if got := hear(t, cfg, custody, c.conn); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// busy is a decoder that takes its time once.
type busy struct {
	decode.Decoder
	once time.Duration
}

func (b *busy) Decode(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	time.Sleep(b.once) // in a bubble
	b.once = 0
	return b.Decoder.Decode(dst, f)
}

// lengths is a decoder that counts bytes.
type lengths struct{}

func (lengths) Decode(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	return append(dst, reading.Reading{Device: f.Device, Metric: "n", Value: reading.Number(int64(len(f.Payload)))}), nil
}
