package mqttin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

const orderNote = "ordered/1"

func anOrder(qos byte) Order {
	return Order{ID: "1", Topic: "dev/pump", Payload: []byte("on"), QoS: qos, Expiry: time.Hour}
}

// order publishes and waits for custody.
func (w *world) order(o Order) (receivers int) {
	w.t.Helper()
	receipt, n, err := w.src.Publish(w.t.Context(), o, nil, reading.Note{Key: orderNote, Value: []byte{1}})
	if err == nil && receipt != nil {
		err = receipt.Wait(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// deliveries collects what Config.Delivered is told.
type deliveries struct {
	mu  sync.Mutex
	all []string
}

func (d *deliveries) add(order, client string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, order+" to "+client)
}

func (d *deliveries) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.all...)
}

func TestOrdersWaitForASleepingDevice(t *testing.T) {
	for _, version := range []byte{4, 5} {
		said := &deliveries{}
		w := newWorld(t, Config{Delivered: said.add})
		c := resume(t, w.src, version, "pump")
		c.subscribe(1, 1, "dev/#")
		bye(c)
		w.gone()
		if n := w.order(anOrder(1)); n != 1 {
			t.Errorf("%d receivers", n)
		}
		w.crash()
		c = resume(t, w.src, version, "pump")
		got := c.read()
		if string(got.Payload) != "on" || got.TopicName != "dev/pump" || got.FixedHeader.Qos != 1 {
			t.Errorf("got %+v", got)
		}
		if left := got.Properties.MessageExpiryInterval; version == 5 && (left < 3500 || left > 3600) {
			t.Errorf("it says that it expires in %d s", left)
		}
		if n := said.list(); len(n) > 0 {
			t.Errorf("delivered before it was acknowledged: %v", n)
		}
		c.puback(got.PacketID)
		retry(t, func() bool { return len(said.list()) == 1 })
		if n := said.list(); n[0] != "1 to pump" {
			t.Errorf("delivered %v", n)
		}
		if rs := w.custody.Stored(); len(rs) > 0 {
			t.Errorf("an order is no reading: %v", rs)
		}
	}
}

func TestOrdersCountWhoGetsThem(t *testing.T) {
	w := newWorld(t, Config{})
	if n := w.order(anOrder(1)); n != 0 {
		t.Errorf("%d receivers where nobody is subscribed", n)
	}
	sleeper := resume(t, w.src, 4, "sleeper")
	sleeper.subscribe(1, 1, "dev/pump")
	bye(sleeper)
	w.gone()
	awake := connect(t, w.src, 4, "awake")
	awake.subscribe(1, 0, "dev/+")
	if n := w.order(anOrder(1)); n != 2 {
		t.Errorf("%d receivers, of one that sleeps and one of QoS 0", n)
	}
	if n := w.order(anOrder(0)); n != 1 {
		t.Errorf("%d receivers of QoS 0: it does not wait for who is away", n)
	}
}

// Even of QoS 0, nobody sees what custody does not have.
func TestOrdersAreSentOnlyFromCustody(t *testing.T) {
	for qos := range byte(3) {
		w := newWorld(t, Config{})
		c := resume(t, w.src, 5, "pump")
		c.subscribe(1, 2, "dev/#")
		w.custody.CommitNever()
		receipt, _, err := w.src.Publish(t.Context(), anOrder(qos), nil, reading.Note{Key: orderNote, Value: []byte{1}})
		if err != nil {
			t.Fatal(err)
		}
		c.silent()
		w.custody.Fail(errors.New("no room"))
		if err := receipt.Wait(t.Context()); err == nil {
			t.Error("the commit failed and the receipt does not say so")
		}
		for _, pk := range c.hungUp() {
			if pk.FixedHeader.Type == packets.Publish {
				t.Errorf("QoS %d: sent without custody: %+v", qos, pk)
			}
		}
		w.custody.CommitAtOnce()
		w.flush()
		resume(t, w.src, 5, "pump").silent()
	}
}

func TestOrdersExpire(t *testing.T) {
	w := newWorld(t, Config{})
	w.clock = &fakeClock{boot: 1, up: time.Minute, time: time.Now(), synced: true}
	w.restart()
	c := resume(t, w.src, 5, "pump")
	c.subscribe(1, 1, "dev/#")
	bye(c)
	w.gone()
	o := anOrder(1)
	o.Expiry = 5 * time.Second
	w.order(o)
	w.crash()
	w.pass(5 * time.Second)
	resume(t, w.src, 5, "pump").silent()
}

func TestOrdersThatCannotBe(t *testing.T) {
	w := newWorld(t, Config{})
	for name, change := range map[string]func(*Order){
		"wildcard":   func(o *Order) { o.Topic = "dev/+" },
		"broker's":   func(o *Order) { o.Topic = "$SYS/x" },
		"no topic":   func(o *Order) { o.Topic = "" },
		"no id":      func(o *Order) { o.ID = "" },
		"control id": func(o *Order) { o.ID = "a\nb" },
		"QoS 3":      func(o *Order) { o.QoS = 3 },
		"half":       func(o *Order) { o.Expiry = time.Second / 2 },
	} {
		o := anOrder(1)
		change(&o)
		if _, _, err := w.src.Publish(t.Context(), o, nil); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	stopped := New(Config{Routes: testRoutes(t)}, nil)
	if _, _, err := stopped.Publish(t.Context(), anOrder(1), nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v", err)
	}
}

// A client cannot pass for an order by its name.
func TestNoClientIsAnOrder(t *testing.T) {
	w := newWorld(t, Config{})
	c := dial(t, w.src)
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect},
		Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: orderOrigin + "1", Clean: true}}
	c.send(pk)
	for _, pk := range c.hungUp() {
		if pk.FixedHeader.Type == packets.Connack && pk.ReasonCode == 0 {
			t.Error("it may connect")
		}
	}
}

// orderStory is somebody who orders once in effect, by a note in the same commit,
// and a device whose session lasts.
type orderStory struct {
	story
	fresh, all int // deliveries without DUP, and together
	done       bool
}

// TestEveryCrashOfAnOrder cuts the power at every instant of an order. It arrives,
// and whatever arrives again says that it does.
func TestEveryCrashOfAnOrder(t *testing.T) {
	for _, version := range []byte{4, 5} {
		for qos := byte(1); qos <= 2; qos++ {
			t.Run(fmt.Sprintf("v%d/QoS%d", version, qos), func(t *testing.T) {
				t.Parallel()
				for n := 0; ; n++ {
					s := &orderStory{story: story{t: t, version: version, pubQoS: qos, subQoS: qos, open: map[uint16]bool{}, got: map[string]int{}}}
					crashed := s.tell(n)
					if s.all < 1 || s.fresh > 1 || qos == 2 && s.got["on"] != 1 {
						t.Errorf("delivered %d times, %d of them as new, %v", s.all, s.fresh, s.got)
					}
					if t.Failed() {
						t.Fatalf("with a crash at instant %d", n)
					}
					if !crashed {
						return
					}
				}
			})
		}
	}
}

func (s *orderStory) tell(n int) (crashed bool) {
	first := newPlot(ingesttest.NewCustody(), n)
	if s.live(first) {
		return false
	}
	if !s.live(newPlot(first.next, -1)) {
		s.t.Fatal("the second life did not get to the end")
	}
	return true
}

func (s *orderStory) live(p *plot) (over bool) {
	src, stop := run(s.t, p, Config{Anonymous: true, Linger: time.Millisecond})
	defer stop()
	l, err := s.connect(p, src, "pump")
	if err == nil && !s.subscribed {
		l.say(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1,
			Filters: packets.Subscriptions{{Filter: "dev/#", Qos: s.subQoS}}})
		_, err = l.hear()
		s.subscribed = err == nil
	}
	if err == nil {
		err = s.order(p, src)
	}
	for err == nil && (s.all == 0 || len(s.open) > 0) {
		var pk packets.Packet
		if pk, err = l.hear(); err == nil && pk.FixedHeader.Type == packets.Publish {
			s.all++
			if !pk.FixedHeader.Dup {
				s.fresh++
			}
		}
		if err == nil {
			s.take(l, pk)
		}
	}
	l.Close()
	if err != nil && !errors.Is(err, errCut) {
		s.t.Fatal(err)
	}
	return err == nil
}

// order gives the order unless custody knows that it was given.
func (s *orderStory) order(p *plot, src *Source) error {
	if s.done || p.Noted()[orderNote] != nil {
		return nil
	}
	p.instant()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	go func() {
		select {
		case <-p.cut:
			cancel()
		case <-ctx.Done():
		}
	}()
	receipt, _, err := src.Publish(ctx, anOrder(s.pubQoS), nil, reading.Note{Key: orderNote, Value: []byte{1}})
	if err == nil {
		err = receipt.Wait(ctx)
	}
	select {
	case <-p.cut:
		return errCut
	default:
	}
	s.done = err == nil
	p.instant()
	return err
}
