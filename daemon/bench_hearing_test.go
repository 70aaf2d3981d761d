package daemon

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/serialin"
)

// A line at 921,600 baud brings 92,160 bytes a second. What is told of it stays
// little, and adds up.
func TestAFloodIsToldInPart(t *testing.T) {
	h := new(hearing)
	now := time.UnixMilli(1)
	flood := bytes.Repeat([]byte("0123456789abcdef"), 64)
	total, shown, missed := 0, 0, 0
	for tick := range 20 {
		for range 9 {
			now = now.Add(11 * time.Millisecond)
			h.add(serialin.Piece{At: now, Direction: serialin.In, Bytes: flood, Damaged: tick%2 == 0})
			total += len(flood)
		}
		pieces, gone := h.take()
		n, marks := 0, 0
		for _, p := range pieces {
			if len(p.Bytes) > maxPiece {
				t.Errorf("a piece of %d bytes", len(p.Bytes))
			}
			n, marks = n+len(p.Bytes), marks+len(p.Damaged)
			for _, at := range p.Damaged {
				if p.Bytes[at] != 'f' {
					t.Fatalf("byte %d of %q is marked", at, p.Bytes)
				}
			}
		}
		if (tick%2 == 0) != (marks > 0) {
			t.Errorf("%d marks are left", marks)
		}
		if n > maxHeard {
			t.Errorf("%d bytes are told at once", n)
		}
		shown, missed = shown+n, missed+gone
	}
	if total != shown+missed || shown == 0 || missed == 0 {
		t.Errorf("of %d bytes, %d were shown and %d missed", total, shown, missed)
	}
	for range 2 * maxHeardPieces {
		now = now.Add(time.Second)
		h.add(serialin.Piece{At: now, Direction: serialin.In, Bytes: []byte("x")})
	}
	if pieces, gone := h.take(); len(pieces) != maxHeardPieces || gone != maxHeardPieces {
		t.Errorf("%d pieces, %d missed", len(pieces), gone)
	}
}

func TestAFloodThroughTheAPIIsBounded(t *testing.T) {
	pb := newPortBench(t)
	device, _ := pb.plug("ttyUSB0", "ONE")
	b := newBench(t, pb, "")
	s := b.ask("/api/v1/serial/listen", api.SerialListen{SerialPlace: api.SerialPlace{Port: device}, SerialSettings: api.SerialSettings{Baud: 921600}})
	pb.speak("ttyUSB0", strings.Repeat("0123456789abcdef0123456789abcd\r\n", 28), 10*time.Millisecond) // 90 kB/s
	var shown, missed, lines, due uint64
	last := until(s, "half a megabyte", func(h api.SerialHeard) bool {
		n := 0
		for _, p := range h.Pieces {
			n += len(p.Bytes)
		}
		if n > maxHeard {
			t.Errorf("%d bytes in a line", n)
		}
		shown, missed, lines = shown+uint64(n), missed+uint64(h.Missed), lines+1
		if due == 0 && h.Counts.Received > 256<<10 {
			due = h.Counts.Received // some of it with the next line: more may have come between taking and counting
			return shown+missed == due
		}
		return due > 0
	})
	if got := shown + missed; got > last.Counts.Received || got < due || missed == 0 {
		t.Errorf("%d shown, %d missed, %d received", shown, missed, last.Counts.Received)
	}
	t.Logf("%d bytes in %d lines, %d of them shown", last.Counts.Received, lines, shown)
}

func TestAdviceIsWhatTheCountsMean(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	for want, counts := range map[string][]api.SerialCounts{
		"":                   {{}, {Received: 100, Frames: 9}, {Received: 200, Damaged: 1, Frames: 19}},
		"too much comes":     {{}, {Received: 100, Damaged: 20}},
		"bytes are lost":     {{}, {Received: 100, Overruns: 1}},
		"too many checksums": {{}, {Received: 100, Frames: 10, BadChecksums: 5}},
		"nothing comes":      {{}, {}, {}, {}, {}, {}, {}},
	} {
		var a advisor
		got := ""
		for i, c := range counts {
			got = a.advise(at(i), c)
		}
		if (got == "") != (want == "") || !strings.HasPrefix(got, want) || got != "" && !strings.Contains(got, " — hint: ") {
			t.Errorf("%v: %q, want %q", counts, got, want)
		}
	}
}

// BenchmarkHearing is what a line at 921,600 baud costs while somebody looks, each
// 100 ms of it.
func BenchmarkHearing(b *testing.B) {
	b.ReportAllocs()
	h := new(hearing)
	p := serialin.Piece{At: time.Now(), Direction: serialin.In, Bytes: make([]byte, 460)}
	b.SetBytes(20 * 460)
	for b.Loop() {
		for range 20 {
			h.add(p)
		}
		h.take()
	}
}
