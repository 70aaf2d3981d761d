package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/cloud"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
	"github.com/tidegate/tidegate/internal/base/porttest"
)

// chapter is a part of the storm: one folder, one fleet and one cloud, and a
// gateway that is killed again and again.
type chapter struct {
	*site
	random *rand.Rand
	kind   chapterKind
	link   *firmwaresim.Link
	shores []*shore
	scout  *scout
	ledger *firmwaresim.Ledger
	fleets []*fleet
	blobs  *blobs      // nil unless the buffer is to overflow
	heard  *subscriber // of the topics under heard/
	tally  *tally
}

// chapterKind says what makes a chapter hard beside the kills.
type chapterKind struct {
	name     string
	weather  bool // the link is cut, mended, and swallows what it gets
	overflow bool // the buffer is small and the link cut: the oldest readings go
	archive  bool // there is a second cloud, whose link is always up
}

func chapterKinds() []chapterKind {
	return []chapterKind{
		{name: "fair weather"},
		{name: "bad links", weather: true},
		{name: "overflow", overflow: true},
		{name: "two clouds", weather: true, archive: true},
		{name: "overflow of one of two", overflow: true, archive: true},
	}
}

// newChapter prepares a site. Its gateway is not started yet.
func newChapter(t *testing.T, kind chapterKind, random *rand.Rand, tally *tally) *chapter {
	t.Helper()
	c := &chapter{site: newSite(t), random: random, kind: kind, ledger: firmwaresim.NewLedger(), tally: tally}
	c.more = `
[[ingest.mqtt.route]]
topic = "alarms/{device}"
lane = "alarm"
[[ingest.mqtt.route]]
topic = "bulk/{device}"
lane = "bulk"
[[ingest.mqtt.route]]
topic = "heard/{device}"
`
	c.shores = append(c.shores, c.openShore("cloud", c.cloud))
	if kind.archive {
		archive := c.openShore("archive", porttest.For(t))
		c.shores = append(c.shores, archive)
		c.more += fmt.Sprintf("[[uplink.http]]\nname = \"archive\"\nurl = \"http://%s/v1/ingest\"\ntimeout = \"1s\"\n", archive.address)
	}
	if kind.overflow {
		c.maxBytes = "32MiB"
	}
	c.link = c.insertLink("1s")
	c.scout = &scout{site: c.site, account: c.ledger.Account("scout"), starts: &tally.starts}
	return c
}

// shore is a cloud in the test's process, which nobody kills.
type shore struct {
	name, address string
	store         *cloud.Store
}

func (s *site) openShore(name, address string) *shore {
	s.Helper()
	dir := filepath.Join(s.dir, name)
	if memory, err := os.MkdirTemp("/dev/shm", "shore"); err == nil { // its syncs are not what is tested
		s.Cleanup(func() { os.RemoveAll(memory) })
		dir = memory
	}
	store, err := cloud.Open(cloud.StoreConfig{Dir: dir})
	if err != nil {
		s.Fatal(err)
	}
	receiver := cloud.NewReceiver(cloud.ReceiverConfig{}, store, slog.New(slog.NewTextHandler(s.log, nil)))
	server := httptest.NewUnstartedServer(cloud.Routes(receiver, store))
	server.Listener.Close()
	if server.Listener, err = net.Listen("tcp", address); err != nil {
		s.Fatal(err)
	}
	server.Start()
	s.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		if err := store.Close(); err != nil {
			s.Error(err)
		}
	})
	return &shore{name, address, store}
}

// startLoad starts a subscriber, and everybody who publishes: in all lanes, with
// either promise, with somebody subscribed and without.
func (c *chapter) startLoad() {
	c.Helper()
	gateway := c.startGateway()
	c.heard = c.startSubscriber("heard/#")
	client := firmwaresim.ClientConfig{MaxPause: 20 * time.Millisecond}
	for _, cfg := range []firmwaresim.FleetConfig{
		{Prefix: "once-", QoS: 1, Devices: 8, Rate: 100},
		{Prefix: "exactly-", QoS: 2, Devices: 4, Rate: 50},
		{Prefix: "alarm-", QoS: 1, Devices: 2, Rate: 20, Topic: "alarms/{device}"},
		{Prefix: "bulk-", QoS: 2, Devices: 2, Rate: 50, Topic: "bulk/{device}"},
		{Prefix: "heard-once-", QoS: 1, Devices: 2, Rate: 50, Topic: "heard/{device}"},
		{Prefix: "heard-exactly-", QoS: 2, Devices: 4, Rate: 50, Topic: "heard/{device}"},
	} {
		cfg.Client = client
		c.fleets = append(c.fleets, c.startFleet(cfg, c.ledger))
	}
	if c.kind.overflow {
		c.overflow()
	}
	gateway.kill()
}

// overflow starts a sensor whose blobs nobody takes, and fills the buffer, so that
// every new segment costs the oldest one.
func (c *chapter) overflow() {
	c.Helper()
	const size = 200 << 10
	c.blobs = c.startBlobs("blob-sensor", 8)
	ctx, cancel := context.WithCancel(context.Background())
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for c.blobs.publish(ctx, size) == nil {
		}
	})
	disconnect := c.blobs.stop
	c.blobs.stop = sync.OnceFunc(func() {
		cancel()
		publisher.Wait()
		disconnect()
	})
	c.Cleanup(c.blobs.stop)
	c.link.Cut()
	c.eventually("the buffer is full", func() bool { return c.blobs.countAcked()*size > 32<<20 })
}

// round starts the gateway and kills it: while it starts, a moment after its
// first acknowledgement, or when it begins a new segment.
func (c *chapter) round() {
	c.Helper()
	begun, before := time.Now(), c.newestSegment()
	gateway := c.startGateway()
	c.changeLink()
	moment := c.random.IntN(8)
	if moment < 2 {
		pass(time.Duration(c.random.Int64N(int64(40 * time.Millisecond))))
		gateway.kill()
		return
	}
	c.scout.greet(gateway, begun)
	if c.kind.overflow && moment < 5 {
		c.awaitSegmentAfter(before, 300*time.Millisecond)
		pass(time.Duration(c.random.Int64N(int64(5 * time.Millisecond))))
	} else {
		pass(time.Duration(float64(time.Millisecond) * math.Pow(80, c.random.Float64())))
	}
	gateway.kill()
}

func (c *chapter) changeLink() {
	switch {
	case c.kind.overflow:
		c.link.Cut()
	case !c.kind.weather:
	default:
		switch c.random.IntN(8) {
		case 0:
			c.link.Cut()
		case 1:
			c.link.Blackhole()
		case 2:
			c.link.CutAfter(1 + c.random.Int64N(3000))
		case 3, 4:
			c.link.Restore()
		}
	}
}

// newestSegment is the name of the segment that is being written.
func (c *chapter) newestSegment() string {
	files, err := filepath.Glob(filepath.Join(c.data, "journal", "*.seg"))
	if err != nil || len(files) == 0 {
		return ""
	}
	return slices.Max(files)
}

// awaitSegmentAfter waits until a newer segment is there, but not for long.
func (c *chapter) awaitSegmentAfter(before string, atMost time.Duration) {
	for deadline := time.Now().Add(atMost); c.newestSegment() <= before && time.Now().Before(deadline); {
		pass(500 * time.Microsecond)
	}
}

// end lets everything arrive, and audits.
func (c *chapter) end() {
	c.Helper()
	c.link.Restore()
	gateway := c.startGateway()
	c.scout.greet(gateway, time.Now())
	for _, f := range c.fleets {
		f.eventuallyAcked(1)
		f.stop()
	}
	if c.blobs != nil {
		c.blobs.stop()
	}
	c.eventuallyDelivered()
	for _, s := range c.shores {
		c.auditShore(s)
	}
	if c.kind.archive {
		c.compareShores(c.shores[0], c.shores[1])
	}
	c.tally.heard += uint64(c.heard.audit(c.ledger, "heard-once-", "heard-exactly-"))
	gateway.stop()
}

// export is what the shore has, as its cloud tells it.
func (s *shore) export() io.ReadCloser {
	r, w := io.Pipe()
	go func() { w.CloseWithError(s.store.Export(context.Background(), w, cloud.Filter{})) }()
	return r
}
