package redisout

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

func TestConformance(t *testing.T) {
	uplinktest.Run(t, uplinktest.Door{
		New: func(t *testing.T, address string, dial uplink.Dial) uplink.Sink {
			return newSink(t, Config{Address: address, Dial: dial})
		},
		Peer: func(t *testing.T, judge uplinktest.Judge) string {
			return peer(t, func(words []string) string {
				if words[0] != "XADD" {
					return "-ERR unknown command 'CONFIG'\r\n"
				}
				return answers[judge(received(words))]
			})
		},
		Lacks: []uplinktest.Verdict{uplinktest.Busy}, // no error of Redis names a delay
	})
}

var answers = map[uplinktest.Verdict]string{
	uplinktest.Accept:  "$15\r\n1526919030474-0\r\n",
	uplinktest.Later:   "-LOADING Redis is loading the dataset in memory\r\n",
	uplinktest.Never:   "-ERR Elements are too large to be stored\r\n",
	uplinktest.Garbage: "HTTP/1.1 400 Bad Request\r\n\r\n",
}

// received is what an XADD carries: its fields stand in pairs behind the *.
func received(words []string) uplinktest.Received {
	fields := make(map[string]string)
	for i := 3; i+1 < len(words); i += 2 {
		fields[words[i]] = words[i+1]
	}
	return uplinktest.Received{Key: fields["key"], Body: []byte(fields["body"])}
}

// newSink returns a Sink to the stream "telemetry", unless cfg says another.
func newSink(t testing.TB, cfg Config) *Sink {
	t.Helper()
	if cfg.Stream.String() == "" {
		cfg.Stream = parsed(t, "telemetry")
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func parsed(t testing.TB, text string) uplink.Template {
	t.Helper()
	p, err := uplink.ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// peer answers each command with what answer returns, which is a reply in the
// protocol or not; "" says nothing.
func peer(t *testing.T, answer func(words []string) string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]struct{})
	tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = struct{}{}
			mu.Unlock()
			tasks.Go(func() { serve(c, answer) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		tasks.Wait()
	})
	return l.Addr().String()
}

func serve(c net.Conn, answer func(words []string) string) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		words, err := readCommand(in)
		if err != nil {
			return
		}
		if _, err := io.WriteString(c, answer(words)); err != nil {
			return
		}
	}
}

// readCommand reads an array of strings.
func readCommand(in *bufio.Reader) ([]string, error) {
	n, err := readLength(in, '*')
	if err != nil {
		return nil, err
	}
	words := make([]string, n)
	for i := range words {
		size, err := readLength(in, '$')
		if err != nil {
			return nil, err
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(in, text); err != nil {
			return nil, err
		}
		words[i] = string(text[:size])
	}
	return words, nil
}

func readLength(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, fmt.Errorf("%q where %q was expected", line, kind)
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}
