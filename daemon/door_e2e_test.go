package daemon

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard"
)

// rawClient is an MQTT 3.1.1 client that sends exactly the bytes it is told to.
type rawClient struct {
	*site
	net.Conn
}

// dial connects a client and waits for CONNACK.
func (s *site) dial(id string) *rawClient {
	s.Helper()
	conn, err := net.Dial("tcp", s.mqtt)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { conn.Close() })
	c := &rawClient{s, conn}
	c.send(packet(0x10, field("MQTT"), []byte{4, 2, 0, 0}, field(id)))
	if !c.answers(0x20, 2, 0, 0) {
		s.Fatal("no CONNACK")
	}
	return c
}

func (c *rawClient) send(p []byte) {
	c.Helper()
	if _, err := c.Write(p); err != nil {
		c.Fatal(err)
	}
}

// answers reports whether these bytes come next, rather than the end.
func (c *rawClient) answers(want ...byte) bool {
	c.Helper()
	got := make([]byte, len(want))
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.Fatal(err)
	}
	if _, err := io.ReadFull(c, got); os.IsTimeout(err) {
		c.Fatalf("neither an answer nor an end within %v", patience)
	} else if err != nil {
		return false
	}
	if !bytes.Equal(got, want) {
		c.Errorf("answer % x, want % x", got, want)
	}
	return true
}

// packet is a control packet.
func packet(first byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)
}

// field is a text or a topic with its length in front.
func field(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// publication is a QoS 1 PUBLISH.
func publication(id uint16, topic string, payload []byte) []byte {
	return packet(0x32, field(topic), binary.BigEndian.AppendUint16(nil, id), payload)
}

// Payloads are nobody's business but the decoder's: what it cannot read is
// delivered bit for bit.
func TestPayloadsOfAnySizeAndBytesAreDelivered(t *testing.T) {
	const maxPacket = 256 << 10 // the default
	s := newSite(t)
	s.startCloud()
	s.startGateway()
	s.eventually("the gateway listens", func() bool { return listens(s.mqtt) })

	notText := []byte("{\"a\": \xff\xfe\x00 no text \xc3\x28}")
	largest := bytes.Repeat([]byte{0xA5, 0x00, 0xFF}, maxPacket)
	largest = largest[:maxPacket-len(publication(1, "raw/largest", make([]byte, 1<<17)))+1<<17]
	if n := len(publication(1, "raw/largest", largest)); n != maxPacket {
		t.Fatalf("the largest packet has %d bytes", n)
	}
	payloads := []struct {
		topic, device string
		payload       []byte
	}{
		{"raw/none", "none", nil},
		{"raw/one", "one", []byte{0}},
		{"raw/notText", "notText", notText},
		{"raw/largest", "largest", largest},
		{"json/none", "json/none", nil}, // no route describes these
		{"json/notText", "json/notText", notText},
	}
	c := s.dial("careful")
	for _, p := range payloads {
		c.send(publication(7, p.topic, p.payload))
		if !c.answers(0x40, 2, 0, 7) {
			t.Fatalf("%s was not acknowledged", p.topic)
		}
	}
	s.eventuallyDelivered()
	for _, p := range payloads {
		rows := s.export("?device=" + url.QueryEscape(p.device))
		if len(rows) != 1 || rows[0].Value != nil || !bytes.Equal(rows[0].Bytes, p.payload) {
			t.Errorf("%s: %d rows, want one with the %d bytes that were sent", p.topic, len(rows), len(p.payload))
		}
	}
}

// What cannot be kept is not acknowledged, and costs nobody else anything.
func TestPacketsThatCannotBeKeptAreRefused(t *testing.T) {
	s := newSite(t)
	s.startCloud()
	s.startGateway()
	s.eventually("the gateway listens", func() bool { return listens(s.mqtt) })
	bystander := s.dial("bystander")
	for name, p := range map[string][]byte{
		"a packet over the limit":     publication(1, "raw/large", make([]byte, 256<<10)),
		"a topic that is not UTF-8":   publication(1, "raw/\xff\xfe", []byte("1")),
		"a topic with a wildcard":     publication(1, "raw/#", []byte("1")),
		"an empty topic":              publication(1, "", []byte("1")),
		"a topic of the broker's":     publication(1, "$SYS/raw", []byte("1")),
		"a packet identifier of 0":    publication(0, "raw/zero", []byte("1")),
		"a packet that ends too soon": {0x32, 3, 0, 9, 'r'},
	} {
		c := s.dial("hostile")
		_, _ = c.Write(p) // it may be refused before its end
		if c.answers(0x40, 2, 0, 1) {
			t.Errorf("%s was acknowledged", name)
		}
		c.Close()
		bystander.send(publication(3, "raw/bystander", []byte(name)))
		if !bystander.answers(0x40, 2, 0, 3) {
			t.Fatalf("after %s, the bystander is cut off", name)
		}
	}
	s.eventuallyDelivered()
	for _, r := range s.export("") {
		if r.Device != "bystander" {
			t.Errorf("stored: %+v", r)
		}
	}
}

// A client that publishes and never reads costs its own connection at most: the
// gateway keeps no more for it than for one that reads, and lets go of it in the
// end.
func TestClientThatNeverReadsItsAcksIsBounded(t *testing.T) {
	const allowed, patient = 20 << 20, 3 * time.Second
	// Until they are cut off, they fill some megabytes of the kernel's buffers
	// with acknowledgements of four bytes.
	warmUp, duration, allCut := time.Second, 15*time.Second, true
	if testing.Short() || raceDetected() {
		warmUp, duration, allCut = time.Second/2, 2*time.Second, false
	}
	s := newSite(t)
	s.startCloud()
	gateway := s.startGateway()
	sensors := s.startSensors()
	sensors.eventuallyAcked(20)
	s.flood(sensors, warmUp, true)
	before := gateway.memory("VmHWM")
	cut, slowest := s.flood(sensors, duration, false)
	for n := 0; n < 4 && slowest > patient; n++ { // one that is held up by them is so each time
		cut, slowest = s.flood(sensors, duration, false)
	}

	grown := gateway.memory("VmHWM") - before
	t.Logf("memory peaks at %d MiB with clients that read, %d KiB higher with some that do not; sensors waited for %v at the most",
		before>>20, grown>>10, slowest.Round(time.Millisecond))
	if grown > allowed && !raceDetected() {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	if slowest > patient {
		t.Errorf("sensors waited for %v", slowest)
	}
	if allCut && cut < 4 {
		t.Errorf("%d clients that read nothing were cut off, want all", cut)
	}
	s.eventuallyStatus("they are gone", func(st dashboard.Status) bool { return st.Doors[0].Clients <= 24 })
	sensors.stopAndAudit()
}

// flood has four clients publish for all they are worth; two of them are sent
// acknowledgements, two their own words as well. It returns how many of them
// the gateway cut off, and how long sensors had to wait meanwhile.
func (s *site) flood(f *sensors, duration time.Duration, reading bool) (cut int64, slowest time.Duration) {
	s.Helper()
	var all sync.WaitGroup
	var ends atomic.Int64
	for i, id := range []string{"acks-0", "acks-1", "echo-0", "echo-1"} {
		c := s.dial(id)
		topic, payload := "raw/acks", []byte("1")
		if i >= 2 {
			topic, payload = "raw/"+id, make([]byte, 4<<10)
			c.send(packet(0x82, []byte{0, 1}, field(topic), []byte{1}))
		}
		if reading {
			all.Go(func() { io.Copy(io.Discard, c) })
		} else if err := c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			s.Fatal(err)
		}
		all.Go(func() {
			if c.repeat(publication(9, topic, payload), duration) {
				ends.Add(1)
			}
		})
	}
	slowest = s.watchSensors(f, &all)
	return ends.Load(), slowest
}

// repeat sends a packet again and again, and reports whether the gateway ended
// that before its time.
func (c *rawClient) repeat(p []byte, duration time.Duration) (cut bool) {
	defer c.Close()
	batch := bytes.Repeat(p, 1+16<<10/len(p))
	c.SetDeadline(time.Now().Add(duration))
	for {
		if _, err := c.Write(batch); err != nil {
			return !os.IsTimeout(err)
		}
	}
}

// watchSensors returns the longest time without an acknowledgement for the
// sensors until the flood ends.
func (s *site) watchSensors(f *sensors, flood *sync.WaitGroup) (slowest time.Duration) {
	ended := make(chan struct{})
	go func() {
		flood.Wait()
		close(ended)
	}()
	last, at := f.atLeastOnce.Stats().Acked, time.Now()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ended:
			return max(slowest, time.Since(at))
		case <-look.C:
		}
		slowest = max(slowest, time.Since(at))
		if now := f.atLeastOnce.Stats().Acked; now > last {
			last, at = now, time.Now()
		}
	}
}
