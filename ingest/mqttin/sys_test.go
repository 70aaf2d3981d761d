package mqttin

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// inSysBubble runs a broker in virtual time that says how it is every 10 s. join
// connects a client of MQTT 5.
func inSysBubble(t *testing.T, cfg Config, test func(custody *ingesttest.Custody, join func(id string) *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		custody := instant()
		cfg.Routes, cfg.Anonymous, cfg.Version = testRoutes(t), true, "1.2.3"
		src := New(cfg, slog.New(slog.DiscardHandler))
		b, err := newBroker(t.Context(), src, ingest.NewIntake(custody, nil, time.Now))
		if err != nil {
			t.Fatal(err)
		}
		b.ended.Go(b.announce)
		synctest.Wait() // it has said how it is before anybody comes
		var pipes []io.Closer
		test(custody, func(id string) *client {
			ours, theirs := net.Pipe()
			pipes = append(pipes, ours)
			b.ended.Go(func() { b.serve(theirs, false) })
			c := newClient(t, ours)
			c.version = 5
			c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: id, Clean: true}})
			return c
		})
		for _, p := range pipes {
			p.Close()
		}
		b.stop()
	})
}

// watch reads messages for some time and returns the last payload of each topic.
func (c *client) watch(span time.Duration) map[string]string {
	c.t.Helper()
	got := make(map[string]string)
	for until := time.Now().Add(span); ; {
		pk, err := c.next(time.Until(until))
		if err != nil {
			return got
		}
		if pk.FixedHeader.Type == packets.Publish {
			got[pk.TopicName] = string(pk.Payload)
		}
	}
}

// mosquittoTopics is what mosquitto 2.0.11 publishes, without what its manual
// calls deprecated.
const mosquittoTopics = `bytes/received bytes/sent clients/connected clients/disconnected clients/expired
clients/maximum clients/total heap/current heap/maximum messages/received messages/sent messages/stored
publish/bytes/received publish/bytes/sent publish/messages/dropped publish/messages/received publish/messages/sent
shared_subscriptions/count store/messages/count subscriptions/count uptime version`

func TestSysTopicsAreThoseOfMosquitto(t *testing.T) {
	want := append(strings.Fields(mosquittoTopics), "retained messages/count")
	for _, name := range strings.Fields(`bytes/received bytes/sent connections messages/received messages/sent
		publish/dropped publish/received publish/sent sockets`) {
		want = append(want, "load/"+name+"/1min", "load/"+name+"/5min", "load/"+name+"/15min")
	}
	inSysBubble(t, Config{}, func(_ *ingesttest.Custody, join func(string) *client) {
		c := join("c")
		c.subscribe(1, 0, "$SYS/broker/#")
		got := c.watch(time.Second) // retained
		for _, name := range want {
			if _, ok := got[sysRoot+name]; !ok {
				t.Errorf("%s is missing", name)
			}
			delete(got, sysRoot+name)
		}
		if len(got) > 0 {
			t.Errorf("more: %v", got)
		}
	})
}

// Both lanes count, and nothing of it reaches custody.
func TestSysTopicsCountEverything(t *testing.T) {
	inSysBubble(t, Config{}, func(custody *ingesttest.Custody, join func(string) *client) {
		reader := join("reader")
		reader.subscribe(1, 1, "seen/+", "$share/g/jobs")
		writer := join("writer")
		for id := range uint16(10) { // express
			writer.publish("unseen", "12345", 1, id+1)
			writer.expect(packets.Puback, id+1)
		}
		retained := publishPacket("seen/a", "123", 1, 1)
		retained.FixedHeader.Retain = true
		writer.send(retained)
		writer.expect(packets.Puback, 1)
		reader.read()
		watch := join("watch")
		watch.subscribe(1, 0, "$SYS/#")
		got := watch.watch(11 * time.Second)
		for name, want := range map[string]string{
			"version":                    "tidegate version 1.2.3",
			"uptime":                     "10 seconds",
			"clients/connected":          "3",
			"clients/total":              "3",
			"clients/maximum":            "3",
			"clients/disconnected":       "0",
			"subscriptions/count":        "2",
			"shared_subscriptions/count": "1",
			"retained messages/count":    "1",
			"publish/messages/received":  "11",
			"publish/bytes/received":     "53",
			"publish/messages/dropped":   "0",
			"messages/received":          "16", // 3 CONNECT, 2 SUBSCRIBE, 11 PUBLISH
			"messages/stored":            "2",  // one retained, one on its way to the reader
		} {
			if got[sysRoot+name] != want {
				t.Errorf("%s: got %q, want %q", name, got[sysRoot+name], want)
			}
		}
		if n := len(custody.Taken(t, 11)); n != 11 {
			t.Errorf("%d readings, want 11", n)
		}
	})
}

// What was said last is all that is said until it changes.
func TestSysTopicsAreSaidWhenTheyChange(t *testing.T) {
	inSysBubble(t, Config{SysInterval: time.Minute}, func(_ *ingesttest.Custody, join func(string) *client) {
		c := join("c")
		c.subscribe(1, 0, "$SYS/broker/clients/#", "$SYS/broker/uptime", "$SYS/broker/version")
		c.watch(61 * time.Second) // what is retained, and c itself
		if got := c.watch(time.Minute); len(got) != 1 || got[sysRoot+"uptime"] != "120 seconds" {
			t.Errorf("got %v", got)
		}
	})
}

// Wildcards do not match what begins with $, in shared subscriptions neither.
func TestSysTopicsAreNotMatchedByWildcards(t *testing.T) {
	inSysBubble(t, Config{}, func(_ *ingesttest.Custody, join func(string) *client) {
		c := join("c")
		c.subscribe(1, 0, "#", "+/broker/uptime", "$share/g/#", "$share/g/+/broker/#")
		if got := c.watch(20 * time.Second); len(got) > 0 {
			t.Errorf("got %v", got)
		}
		c.subscribe(2, 0, "$share/g/$SYS/broker/uptime")
		if got := c.watch(11 * time.Second); len(got) != 1 {
			t.Errorf("got %v, want the uptime", got)
		}
	})
}

func TestSysTopicsNeedTheirOwnRule(t *testing.T) {
	rules := []Rule{{User: Everybody, Publish: []string{"#"}, Subscribe: []string{"#"}}}
	inSysBubble(t, Config{Rules: rules}, func(_ *ingesttest.Custody, join func(string) *client) {
		c := join("c")
		for i, filter := range []string{"$SYS/#", "$SYS/broker/uptime", "$share/g/$SYS/#"} {
			c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: uint16(i + 1),
				Filters: packets.Subscriptions{{Filter: filter}}})
			if ack := c.expect(packets.Suback, uint16(i+1)); ack.ReasonCodes[0] != codeNotAuthorized {
				t.Errorf("%s: SUBACK says %#x", filter, ack.ReasonCodes)
			}
		}
	})
}

func TestSysTopicsCanBeTurnedOff(t *testing.T) {
	inSysBubble(t, Config{SysInterval: -1}, func(_ *ingesttest.Custody, join func(string) *client) {
		c := join("c")
		c.subscribe(1, 0, "$SYS/#")
		if got := c.watch(time.Hour); len(got) > 0 {
			t.Errorf("got %v", got)
		}
	})
}

// A load approaches what is steady, the shorter its span the faster, and forgets
// what is over.
func TestLoadsFollowTheRate(t *testing.T) {
	var l load
	total := uint64(0)
	for range 6 * 60 { // an hour of 10 a second
		total += 100
		l.add(total, 10*time.Second)
	}
	for i, rate := range l.perMinute {
		if math.Abs(rate-600) > 12 {
			t.Errorf("%d minutes: %.2f a minute, want 600", loadMinutes[i], rate)
		}
	}
	for range 6 {
		l.add(total, 10*time.Second)
	}
	if !slices.IsSorted(l.perMinute[:]) || l.perMinute[0] > 600/math.E+1 {
		t.Errorf("a minute later: %v", l.perMinute)
	}
}

func TestTrafficCountsWholePackets(t *testing.T) {
	var n traffic
	five := newClient(t, nil)
	five.version = 5
	pk := publishPacket("d", "123", 1, 1)
	pk.Properties.User = []packets.UserProperty{{Key: "k", Val: "v"}}
	due := slices.Concat(five.encode(pk), []byte("\x40\x02\x00\x01"), five.encode(pk))
	n.left(due, 5)
	got := fmt.Sprint(n.packetsSent.Load(), n.publishSent.Load(), n.payloadSent.Load(), n.bytesSent.Load())
	if want := fmt.Sprint(3, 2, 6, len(due)); got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
}

func TestSysTopicsWithMosquitto(t *testing.T) {
	if _, err := exec.LookPath("mosquitto_sub"); err != nil {
		t.Skip("mosquitto_sub is missing: apt-get install mosquitto-clients")
	}
	src := start(t, instant(), Config{Version: "1.2.3"})
	host, port, _ := strings.Cut(src.Addr(t.Context()).String(), ":")
	sub := exec.CommandContext(t.Context(), "mosquitto_sub", "-h", host, "-p", port, "-t", "$SYS/broker/version", "-C", "1", "-W", "60")
	if out, err := sub.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "tidegate version 1.2.3" {
		t.Errorf("%v: %v\n%s", sub.Args, err, out)
	}
}

// What is counted for $SYS is counted at any moment, also while a session begins.
func TestANewSessionCanBeCounted(t *testing.T) {
	src := start(t, instant(), Config{})
	src.Addr(t.Context())
	b := serving(src)
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	c := newConn(b, here, false)
	s := newSession(c, b.server.NewClient(nil, "mqtt", "new", false))
	if messages, filters := s.holds(); messages != 0 || len(filters) != 0 {
		t.Errorf("%d messages, %v", messages, filters)
	}
}

// Who subscribes while the broker says something new of itself does not get the old
// after it.
func TestWhatTheBrokerSaysComesInOrder(t *testing.T) {
	src := start(t, instant(), Config{})
	src.Addr(t.Context())
	b := serving(src)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			b.sys.mu.Lock()
			b.sys.publish("test", strconv.Itoa(n))
			b.sys.mu.Unlock()
		}
	}()
	reader := connect(t, src, 4, "reader")
	for id := range uint16(500) {
		reader.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 2*id + 1,
			Filters: packets.Subscriptions{{Filter: sysRoot + "test"}}})
		reader.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 2*id + 2,
			Filters: packets.Subscriptions{{Filter: sysRoot + "test"}}})
		last := 0
		for pk := reader.read(); pk.FixedHeader.Type != packets.Unsuback; pk = reader.read() {
			if pk.FixedHeader.Type != packets.Publish {
				continue
			}
			n, _ := strconv.Atoi(string(pk.Payload))
			if n <= last {
				t.Errorf("got %d after %d", n, last)
			}
			last = n
		}
	}
	close(stop)
	<-stopped
}
