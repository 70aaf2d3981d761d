package daemon

import (
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// scout is a sensor that wants in as soon as the gateway listens, and measures
// how long that takes.
type scout struct {
	*site
	account *firmwaresim.Account
	seq     uint64 // of the last sample
	starts  *startTimes
}

// startTimes is how long starts took.
type startTimes struct {
	ready, acked []time.Duration
}

// greet connects to a gateway that was started at begun, publishes one sample and
// waits for its acknowledgement.
func (s *scout) greet(gateway *program, begun time.Time) {
	s.Helper()
	deadline := begun.Add(patience)
	for time.Now().Before(deadline) && !isClosed(gateway.ended) {
		conn, err := net.Dial("tcp", s.mqtt)
		if err != nil {
			pass(time.Millisecond)
			continue
		}
		err = s.exchange(conn, begun, deadline)
		conn.Close()
		if err == nil {
			return
		}
		s.Logf("scout: %v", err)
	}
	s.Fatalf("the gateway does not start: %v", gateway.cmd.ProcessState)
}

func (s *scout) exchange(conn net.Conn, begun, deadline time.Time) error {
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	say := func(bytes []byte, answer int) error {
		if _, err := conn.Write(bytes); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, make([]byte, answer))
		return err
	}
	if err := say(packet(0x10, field("MQTT"), []byte{4, 2, 0, 0}, field("scout")), 4); err != nil {
		return err
	}
	ready := time.Since(begun)
	s.seq++
	if err := say(publication(1, "site/sim/dev/scout/telemetry", fmt.Appendf(nil, `{"seq":%d}`, s.seq)), 4); err != nil {
		return err
	}
	s.account.Acked(s.seq, s.seq)
	s.starts.ready = append(s.starts.ready, ready)
	s.starts.acked = append(s.starts.acked, time.Since(begun))
	return nil
}

// String is the line of a report.
func (s *startTimes) String() string {
	prompt := 0
	for _, d := range s.acked {
		if d <= time.Second {
			prompt++
		}
	}
	return fmt.Sprintf("%d starts: ready after %s, first acknowledgement after %s; %.2f%% within a second",
		len(s.acked), percentiles(s.ready), percentiles(s.acked), 100*float64(prompt)/float64(max(len(s.acked), 1)))
}

func percentiles(all []time.Duration) string {
	if len(all) == 0 {
		return "no time at all"
	}
	sorted := slices.Sorted(slices.Values(all))
	at := func(share float64) time.Duration {
		return sorted[int(share*float64(len(sorted)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v, at most %v", at(0.5), at(0.99), at(1))
}
