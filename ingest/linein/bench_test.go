package linein

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

const (
	benchJSON = `{"ts":1700000000123,"temp":21.37,"hum":48.2,"bat":3.71,"rssi":-67}`
	benchText = "temp=21.5 hum=40"
	benchMany = 1000 // lines a write
)

// BenchmarkLines sends lines over one connection through the door, and for
// comparison to somebody who reads them with a bufio.Scanner and does nothing
// else. Custody costs nothing here.
func BenchmarkLines(b *testing.B) {
	for _, c := range []struct {
		name, line string
		values     int
		decoder    decode.Decoder
	}{
		{"json", benchJSON, 4, decode.NewJSON(decode.JSONConfig{})},
		{"text", benchText, 2, pairs{}},
		{"raw", benchText, 1, decode.Raw{}},
	} {
		lines := bytes.Repeat([]byte(c.line+"\n"), benchMany)
		b.Run(c.name+"/door", func(b *testing.B) {
			cfg := config()
			cfg.Target.Decoder = c.decoder
			w := startOn(b, cfg, ingesttest.Discard{})
			sendAll(b, dial(b, "tcp", w.Source), lines, c.values)
			w.until("all", func(s Stats) bool { return s.Frames.Frames == uint64(b.N)*benchMany })
			if got := w.intake.Stats().Taken; got != uint64(b.N*benchMany*c.values) {
				b.Fatalf("%d readings", got)
			}
		})
		b.Run(c.name+"/replies", func(b *testing.B) {
			cfg := config()
			cfg.Target.Decoder, cfg.Reply = c.decoder, "OK\n"
			w := startOn(b, cfg, ingesttest.Discard{})
			conn := dial(b, "tcp", w.Source)
			read := make(chan error, 1)
			go func() { read <- readReplies(conn, 3*b.N*benchMany) }()
			sendAll(b, conn, lines, c.values)
			if err := <-read; err != nil {
				b.Fatal(err)
			}
		})
		b.Run(c.name+"/bufio", func(b *testing.B) { readBare(b, lines, c.values) })
	}
}

// readBare is the baseline: lines are found, and that is all.
func readBare(b *testing.B, lines []byte, values int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	other, err := listener.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer other.Close()
	read := make(chan int, 1)
	go func() {
		n := 0
		for s := bufio.NewScanner(other); n < b.N*benchMany && s.Scan(); n++ {
		}
		read <- n
	}()
	sendAll(b, conn, lines, values)
	if n := <-read; n != b.N*benchMany {
		b.Fatal(n)
	}
}

func readReplies(conn net.Conn, n int) error {
	b := make([]byte, 64<<10)
	for n > 0 {
		got, err := conn.Read(b)
		if err != nil {
			return err
		}
		n -= got
	}
	return nil
}

// sendAll sends the lines b.N times: an operation is benchMany messages.
func sendAll(b *testing.B, conn net.Conn, lines []byte, values int) {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(int64(len(lines)))
	b.ResetTimer()
	for range b.N {
		if _, err := conn.Write(lines); err != nil {
			b.Fatal(err)
		}
	}
	b.Cleanup(func() {
		seconds := b.Elapsed().Seconds()
		b.ReportMetric(float64(b.N*benchMany)/seconds, "messages/s")
		b.ReportMetric(float64(b.N*benchMany*values)/seconds, "values/s")
	})
}

// pairs stands for a decoder of "name=number name=number", at the price of one
// that is written with care: it knows its names.
type pairs struct{}

func (pairs) Decode(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	rest := f.Payload
	for _, name := range []string{"temp", "hum"} {
		at := bytes.IndexByte(rest, '=')
		if at < 0 {
			return dst, decode.ErrMalformed
		}
		rest = rest[at+1:]
		value, frac, point := 0.0, 1.0, false
		for len(rest) > 0 && rest[0] != ' ' {
			switch {
			case rest[0] == '.':
				point = true
			case point:
				frac /= 10
				value += frac * float64(rest[0]-'0')
			default:
				value = 10*value + float64(rest[0]-'0')
			}
			rest = rest[1:]
		}
		dst = append(dst, reading.Reading{Device: f.Device, Metric: name, Value: reading.Float(value)})
	}
	return dst, nil
}

// BenchmarkSingle sends one line at a time and waits for its reply: what a device
// that waits sees, and what a batch of one costs.
func BenchmarkSingle(b *testing.B) {
	cfg := config()
	cfg.Reply = "OK\n"
	w := startOn(b, cfg, ingesttest.Discard{})
	conn := dial(b, "tcp", w.Source)
	in, line := make([]byte, 3), []byte(benchJSON+"\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(line); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDatagrams sends one message a datagram, no faster than they are taken.
func BenchmarkDatagrams(b *testing.B) {
	w := startOn(b, udpConfig(frame.Gap), ingesttest.Discard{})
	conn := dial(b, "udp", w.Source)
	payload := []byte(benchJSON)
	const window = 256
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		for n%window == window-1 && w.stats.frames.Load()+w.stats.overrun.Load()+window <= uint64(n) {
			runtime.Gosched()
		}
		if _, err := conn.Write(payload); err != nil {
			b.Fatal(err)
		}
	}
	w.until("all", func(s Stats) bool { return s.Frames.Frames+s.Unread() == uint64(b.N) })
	b.ReportMetric(float64(w.Stats().Unread())/float64(b.N), "lost/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkIdle tells what a connection costs that has said something and is
// silent now. Its other end is in this process, too, and is a net.Conn of less
// than a kilobyte.
func BenchmarkIdle(b *testing.B) {
	n := 2000
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || int(files.Max) < 3*n {
		b.Skip("too few descriptors")
	}
	for b.Loop() {
		cfg := config()
		cfg.MaxClients = n
		cfg.Target.Decoder = decode.Raw{}
		w := startOn(b, cfg, ingesttest.Discard{})
		before := memory()
		conns := make([]net.Conn, n)
		for i := range conns {
			conns[i] = dial(b, "tcp", w.Source)
			fmt.Fprintf(conns[i], "%s\n", strings.Repeat("x", 60))
		}
		w.until("all", func(s Stats) bool { return s.Frames.Frames == uint64(n) })
		b.ReportMetric(float64(memory()-before)/float64(n), "B/conn")
		for _, conn := range conns {
			conn.Close()
		}
		w.until("none", func(s Stats) bool { return s.Clients == 0 })
	}
}

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
