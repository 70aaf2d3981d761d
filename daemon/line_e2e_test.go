package daemon

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/base/porttest"
)

// What a device was sent a reply for is on flash: it is in the cloud, however
// often the power went in between. A device that waits for its replies and sends
// again what got none needs no more than that.
func TestLinesThatWereRepliedToSurviveKills(t *testing.T) {
	s := newSite(t)
	address := porttest.For(t)
	s.more = fmt.Sprintf("[[ingest.line]]\nname = \"meters\"\nlisten = %q\ndevice = \"meter/{peer}\"\nreply = \"OK\\n\"\n", address)
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	s.startCloud()
	gateway := s.startGateway()
	replied := 0
	for range 3 {
		conn := s.dialLine(address)
		s.sendLines(conn, &replied, replied+500)
		// Some are under way, and nobody knows of them what will become of it.
		for n := range 100 {
			fmt.Fprintf(conn, "{\"n\":%d}\n", replied+n)
		}
		gateway.kill()
		replied += countReplies(conn)
		gateway = s.startGateway()
	}
	s.eventuallyStatus("the door is there", func(st dashboard.Status) bool {
		return len(st.Doors) == 2 && st.Doors[1].Name == "line:meters" && st.Doors[1].Kind == "line" && st.Doors[1].State == dashboard.OK
	})
	s.eventuallyDelivered()
	delivered := s.exported("meter/127.0.0.1", "n")
	for n := range replied {
		if !delivered[n] {
			t.Fatalf("line %d of %d was replied to and is not in the cloud", n, replied)
		}
	}
	t.Logf("%d lines, all there", replied)
}

// dialLine connects as soon as the gateway listens.
func (s *site) dialLine(address string) (conn net.Conn) {
	s.Helper()
	s.eventually("the door listens", func() bool {
		var err error
		conn, err = net.Dial("tcp", address)
		return err == nil
	})
	s.Cleanup(func() { conn.Close() })
	return conn
}

// sendLines sends lines and waits for their replies, up to a number.
func (s *site) sendLines(conn net.Conn, replied *int, upTo int) {
	s.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		s.Fatal(err)
	}
	in := bufio.NewReaderSize(conn, 16) // what it leaves is read by others
	for *replied < upTo {
		const window = 50
		for n := range window {
			fmt.Fprintf(conn, "{\"n\":%d}\n", *replied+n)
		}
		for range window {
			if reply, err := in.ReadString('\n'); err != nil || reply != "OK\n" {
				s.Fatalf("replied %q, %v", reply, err)
			}
			*replied++
		}
	}
}

// countReplies counts those that came before the end.
func countReplies(conn net.Conn) int {
	b, _ := io.ReadAll(conn)
	return len(b) / len("OK\n")
}

// exported returns the whole numbers that the cloud has of a metric.
func (s *site) exported(device, metric string) map[int]bool {
	s.Helper()
	all := map[int]bool{}
	s.get("http://"+s.cloud+"/v1/export", func(r *http.Response) error {
		for rows := json.NewDecoder(r.Body); ; {
			var row struct {
				Device, Metric string
				Value          json.RawMessage
			}
			if err := rows.Decode(&row); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if n := 0; row.Device == device && row.Metric == metric {
				if err := json.Unmarshal(row.Value, &n); err != nil {
					return err
				}
				all[n] = true
			}
		}
	})
	return all
}
