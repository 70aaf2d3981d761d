package firmwaresim

import (
	"bufio"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// lineServer takes TCP connections, one after the other, and gives each to serve
// with its number.
//
// When the test wants to see what it got, it calls end first.
func lineServer(t *testing.T, serve func(n int, conn net.Conn)) (url string, end func()) {
	t.Helper()
	l := listen(t)
	var open sync.WaitGroup
	open.Go(func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(n, conn)
			conn.Close()
		}
	})
	end = func() {
		l.Close()
		open.Wait()
	}
	t.Cleanup(end)
	return "tcp://" + l.Addr().String(), end
}

// A connection that breaks costs the ledger nothing: what was not replied to is
// sent again, what was is not.
func TestLinesOverTCPAreSentAgainFromTheFirstThatWasNotRepliedTo(t *testing.T) {
	var got [2][]uint64
	url, end := lineServer(t, func(n int, conn net.Conn) {
		lines := bufio.NewScanner(conn)
		for lines.Scan() {
			got[n] = append(got[n], seqOfLine(lines.Text()))
			if n == 0 && len(got[0]) > 30 {
				if len(got[0]) == 35 {
					return // with at least five that were not replied to
				}
				continue
			}
			io.WriteString(conn, "OK\n")
		}
	})
	ledger := NewLedger()
	s, err := sendAll(t, SenderConfig{URL: url, Encoding: KeyValue, Reply: "OK\n", Window: 10, Count: 100,
		Faults: Faults{Split: .5, Merge: .3, Pause: .02, PauseFor: time.Millisecond}}, ledger)
	end()
	if err != nil || s.Acked != 100 || s.Messages != 100 || s.Again < 4 || s.Again > 10 || s.Troubles != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if !slices.Equal(got[0], upTo(35)) || len(got[1]) == 0 || got[1][0] > 31 || got[1][0] < 26 || got[1][len(got[1])-1] != 100 {
		t.Errorf("%v, then %v", got[0], got[1])
	}
	if acked, again := ledger.Count(); acked != 100 || again != s.Again {
		t.Errorf("%d acknowledged, %d again", acked, again)
	}
}

// A connection that breaks takes along what waited to be merged: it is sent again
// once, or its second reply would acknowledge the frame behind it.
func TestWhatWaitedToBeMergedIsSentAgainOnce(t *testing.T) {
	var mu sync.Mutex
	taken := make(map[uint64]bool)
	url, end := lineServer(t, func(n int, conn net.Conn) {
		lines := bufio.NewScanner(conn)
		last := uint64(0)
		for replies := 0; (n >= 8 || replies < 4) && lines.Scan(); replies++ {
			seq := seqOfLine(lines.Text())
			if seq <= last {
				t.Errorf("%d comes after %d over the same connection", seq, last)
			}
			last = seq
			mu.Lock()
			taken[seq] = true
			mu.Unlock()
			io.WriteString(conn, "OK\n")
		}
	})
	ledger := NewLedger()
	s, err := sendAll(t, SenderConfig{URL: url, Encoding: CSV, Reply: "OK\n", Rate: 200, Window: 16, Count: 60, Timeout: 300 * time.Millisecond,
		Faults: Faults{Merge: .9}}, ledger)
	end()
	if err != nil || s.Acked != 60 || strings.Contains(s.LastTrouble, errTooMany.Error()) {
		t.Errorf("%+v, %v", s, err)
	}
	for sample := range ledger.All() {
		if !taken[sample.Seq] {
			t.Errorf("%d was acknowledged and not taken", sample.Seq)
		}
	}
}

func TestRepliesOverTCPThatAreNoneAreNoAcknowledgement(t *testing.T) {
	for timeout := 2 * time.Second; !repliesThatAreNone(t, timeout); timeout *= 4 {
	}
}

// repliesThatAreNone returns false if a reply may have been late.
func repliesThatAreNone(t *testing.T, timeout time.Duration) (inTime bool) {
	t.Helper()
	url, end := lineServer(t, func(n int, conn net.Conn) {
		lines := bufio.NewScanner(conn)
		lines.Scan()
		switch n {
		case 0:
			io.WriteString(conn, "NO\n")
		case 1: // silence, until the device gives up
			lines.Scan()
		default:
			io.WriteString(conn, "OK\n")
			for lines.Scan() {
				io.WriteString(conn, "OK\n")
			}
		}
	})
	began := time.Now()
	s, err := sendAll(t, SenderConfig{URL: url, Reply: "OK\n", Count: 2, Timeout: timeout}, nil)
	end()
	if mayBeLate(began, timeout) {
		return false
	}
	if err != nil || s.Acked != 2 || s.Again != 2 || s.Troubles != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	return true
}

func TestDuplicatesOverTCPAreRepliedToEach(t *testing.T) {
	lines := 0
	url, end := lineServer(t, func(_ int, conn net.Conn) {
		for scan := bufio.NewScanner(conn); scan.Scan(); lines++ {
			io.WriteString(conn, "OK\n")
		}
	})
	s, err := sendAll(t, SenderConfig{URL: url, Reply: "OK\n", Count: 50, Window: 3, Faults: Faults{Duplicate: .5, Merge: 1}}, nil)
	end()
	if err != nil || s.Acked != 50 || s.Again == 0 || s.Troubles != 0 || lines != 50+int(s.Again) {
		t.Errorf("%d lines, %+v, %v", lines, s, err)
	}
}

func TestFramesOverTCPWithoutReplies(t *testing.T) {
	for _, e := range []Encoding{NMEA, COBS} {
		var got []byte
		url, end := lineServer(t, func(_ int, conn net.Conn) { got, _ = io.ReadAll(conn) })
		ledger := NewLedger()
		s, err := sendAll(t, SenderConfig{URL: url, Encoding: e, Count: 40, Window: 5, Faults: Faults{Split: .5, Merge: .3}}, ledger)
		end()
		seqs, rest := seqsIn(e, false, got)
		if err != nil || s.Messages != 40 || s.Acked != 0 || !slices.Equal(seqs, upTo(40)) || len(rest) > 0 {
			t.Errorf("%v, %.100X, %+v, %v", seqs, rest, s, err)
		}
		if sent := ledger.Account("dev-0000").sent; sent.count != 40 {
			t.Errorf("%+v", sent)
		}
	}
}

// datagrams is a UDP server that answers as reply says.
func datagrams(t *testing.T, reply func(n int, b []byte) string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64<<10)
		for n := 0; ; n++ {
			size, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if answer := reply(n, b[:size]); answer != "" {
				conn.WriteTo([]byte(answer), from)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return "udp://" + conn.LocalAddr().String()
}

// A reply that comes late is for a frame that was sent again since; it must not
// acknowledge the next one, which the other side has not got.
func TestALateReplyOverUDPAcknowledgesNothingElse(t *testing.T) {
	var mu sync.Mutex
	var seqs []uint64
	stored := make(map[uint64]bool)
	url := datagrams(t, func(n int, b []byte) string {
		mu.Lock()
		defer mu.Unlock()
		seq := seqOfLine(strings.TrimSuffix(string(b), "\n"))
		seqs = append(seqs, seq)
		if n%3 == 0 {
			return ""
		}
		stored[seq] = true
		return "+"
	})
	ledger := NewLedger()
	s, err := sendAll(t, SenderConfig{URL: url, Encoding: CSV, Reply: "+", Count: 20, Timeout: 50 * time.Millisecond,
		Faults: Faults{Drop: .2, Duplicate: .3}}, ledger)
	if err != nil || s.Acked != 20 || s.Again == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	mu.Lock()
	defer mu.Unlock()
	for sample := range ledger.All() {
		if !stored[sample.Seq] {
			t.Errorf("%d was acknowledged and never stored; came: %v", sample.Seq, seqs)
		}
	}
}

func TestFramesOverUDPWithoutReplies(t *testing.T) {
	var mu sync.Mutex
	sizes := make(map[int]int)
	url := datagrams(t, func(_ int, b []byte) string {
		mu.Lock()
		defer mu.Unlock()
		sizes[len(b)]++
		return ""
	})
	s, err := sendAll(t, SenderConfig{URL: url, Encoding: Fixed, Count: 100, Faults: Faults{Duplicate: .3, Drop: .3}}, nil)
	if err != nil || s.Messages != 100 {
		t.Fatalf("%+v, %v", s, err)
	}
	want := 100 + int(s.Again) - int(droppedOf(Faults{Duplicate: .3, Drop: .3}, 100))
	eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return sizes[21] == want && len(sizes) == 1
	})
	// Nobody has to be there.
	if s, err := sendAll(t, SenderConfig{URL: "udp://127.0.0.1:1", Count: 10}, nil); err != nil || s.Messages != 10 {
		t.Errorf("%+v, %v", s, err)
	}
}

func droppedOf(f Faults, n int) uint64 {
	s := f.Stream(0, 0)
	for range n {
		s.Frame([]byte("x"))
	}
	return s.Counts().Dropped
}
