package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	paho3 "github.com/eclipse/paho.mqtt.golang"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/servertest"
)

// sleeper is a device with a session that lasts, which is connected now and then.
// What it is told it acknowledges.
type sleeper struct {
	*site
	client paho3.Client

	mu    sync.Mutex
	fresh map[string]int // by payload: deliveries without DUP
	all   map[string]int
}

func (s *site) newSleeper() *sleeper {
	d := &sleeper{site: s, fresh: map[string]int{}, all: map[string]int{}}
	s.Cleanup(func() { d.sleep() })
	return d
}

// wake connects, and stays so whatever happens to the gateway, until sleep.
func (d *sleeper) wake() {
	options := paho3.NewClientOptions().AddBroker("tcp://" + d.mqtt).SetClientID("pump-7").SetProtocolVersion(4).SetCleanSession(false).
		SetConnectRetry(true).SetConnectRetryInterval(20 * time.Millisecond).SetMaxReconnectInterval(50 * time.Millisecond).
		SetDefaultPublishHandler(func(_ paho3.Client, m paho3.Message) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.all[string(m.Payload())]++
			if !m.Duplicate() {
				d.fresh[string(m.Payload())]++
			}
		})
	d.client = paho3.NewClient(options)
	d.client.Connect()
}

func (d *sleeper) sleep() {
	if d.client != nil {
		d.client.Disconnect(10)
		d.client = nil
	}
}

// subscribe begins the session.
func (d *sleeper) subscribe() {
	d.Helper()
	d.wake()
	d.eventually("the device is subscribed", func() bool {
		token := d.client.Subscribe("dev/#", 1, nil)
		return token.WaitTimeout(patience) && token.Error() == nil
	})
}

func (d *sleeper) got(payload string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[payload]
}

// boss gives commands over a broker, and reads answers, over one connection that
// outlives everything else.
type boss struct {
	*site
	client paho3.Client
	mu     sync.Mutex
	states map[string][]string // answers by id
}

func (s *site) newBoss(address string) *boss {
	s.Helper()
	b := &boss{site: s, states: map[string][]string{}}
	b.client = paho3.NewClient(paho3.NewClientOptions().AddBroker("tcp://" + address).SetClientID("boss").SetProtocolVersion(4))
	for _, token := range []func() paho3.Token{
		b.client.Connect,
		func() paho3.Token { return b.client.Subscribe("tidegate/north-7/answers", 1, b.hear) },
	} {
		if t := token(); !t.WaitTimeout(patience) || t.Error() != nil {
			s.Fatalf("boss: %v", t.Error())
		}
	}
	s.Cleanup(func() { b.client.Disconnect(10) })
	return b
}

func (b *boss) hear(_ paho3.Client, m paho3.Message) {
	var a struct{ ID, State, Of string }
	if err := json.Unmarshal(m.Payload(), &a); err != nil {
		b.Errorf("%s: %v", m.Payload(), err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.states[a.ID] = append(b.states[a.ID], a.State)
}

func (b *boss) put(document string) {
	b.Helper()
	if t := b.client.Publish("tidegate/north-7/commands", 1, false, document); !t.WaitTimeout(patience) || t.Error() != nil {
		b.Fatalf("boss: %v", t.Error())
	}
}

// answered reports whether one of the states was answered.
func (b *boss) answered(id string, states ...string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.states[id] {
		for _, want := range states {
			if s == want {
				return true
			}
		}
	}
	return false
}

// commandable adds commands over the broker to the site's configuration.
func (s *site) commandable(address string) {
	s.Helper()
	s.more = fmt.Sprintf(`
[command]
allow = ["dev/+/set"]
max_rate = 6000
[[command.mqtt]]
name = "orders"
url = "mqtt://%s"
keepalive = "5s"
`, address)
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
}

func commandsUp(st dashboard.Status) bool {
	return st.Commands != nil && len(st.Commands.Couriers) == 1 && st.Commands.Couriers[0].Up
}

// TestCommandsComeOnceThroughKillNine: a broker somewhere else, a device that
// sleeps most of the time, and a gateway that is killed again and again.
func TestCommandsComeOnceThroughKillNine(t *testing.T) {
	upstream := servertest.Mosquitto(t)
	s := newSite(t)
	s.commandable(upstream.Addr("mqtt"))
	dice := seeded(t)
	boss := s.newBoss(upstream.Addr("mqtt"))
	gateway := s.startGateway()
	device := s.newSleeper()
	device.subscribe()
	device.sleep()
	s.eventuallyStatus("commands can come", commandsUp)

	const commands = 60
	for i := range commands {
		boss.put(fmt.Sprintf(`{"id":"c-%d","topic":"dev/pump/set","payload":"c-%d","ttl":"10m"}`, i, i))
		if i%10 == 0 {
			boss.put(fmt.Sprintf(`{"id":"bad-%d","topic":"dev/pump/get","payload":"bad"}`, i))
			boss.put(fmt.Sprintf(`{"id":"old-%d","topic":"dev/pump/set","payload":"old","expires":"2020-01-01T00:00:00Z"}`, i))
		}
		switch dice.IntN(6) {
		case 0:
			pass(time.Duration(dice.IntN(150)) * time.Millisecond)
			gateway.kill()
			gateway = s.startGateway()
		case 1:
			if device.client == nil {
				device.wake()
			} else {
				device.sleep()
			}
		}
	}
	for i := range commands {
		id := fmt.Sprint("c-", i)
		s.eventually(id+" is answered", func() bool { return boss.answered(id, "accepted", "duplicate") })
	}
	device.sleep()
	device.wake()
	for i := range commands {
		id := fmt.Sprint("c-", i)
		s.eventually("the device has "+id, func() bool { return device.got(id) > 0 })
	}
	for i := 0; i < commands; i += 10 {
		s.eventually("what is wrong is refused", func() bool {
			return boss.answered(fmt.Sprint("bad-", i), "refused") && boss.answered(fmt.Sprint("old-", i), "expired", "refused") // without a clock nobody knows that it is old
		})
	}
	t.Logf("%d deliveries came again, and said so", device.checkOnce())
	s.checkAudit(commands)
}

// checkOnce wants nothing to have been published twice, and what is wrong not at
// all. It returns how many deliveries came again.
func (d *sleeper) checkOnce() (again int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for payload, n := range d.fresh {
		if n > 1 {
			d.Errorf("%s was published %d times", payload, n)
		}
	}
	for payload, n := range d.all {
		if payload == "bad" || payload == "old" {
			d.Errorf("%s was published", payload)
		}
		again += n - 1
	}
	return again
}

// checkAudit wants every command that was accepted in the log once, in that of the
// program that runs and of one that does not.
func (s *site) checkAudit(commands int) {
	s.Helper()
	var out, errs bytes.Buffer
	if code := Main([]string{"command", "log", "-json", "-n", "10000", "-config", s.configFile()}, &out, &errs); code != exitOK {
		s.Fatalf("%d: %s", code, &errs)
	}
	var all []decision
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		s.Fatal(err)
	}
	accepted := map[string]int{}
	for _, d := range all {
		if d.Decision == "accepted" {
			accepted[d.ID]++
		}
	}
	for i := range commands {
		if n := accepted[fmt.Sprint("c-", i)]; n != 1 {
			s.Errorf("c-%d was accepted %d times, says the audit", i, n)
		}
	}
	out.Reset()
	Main([]string{"command", "log", "-config", s.configFile()}, &out, &errs)
	if text := out.String(); strings.Count(text, "\n") != 21 || !strings.Contains(text, "dev/pump/set") {
		s.Errorf("the log is\n%s", text)
	}
}

// TestDeliveriesAreAnsweredUpstream: accepted while the device sleeps, delivered
// when it has acknowledged, and both are readings for the cloud.
func TestDeliveriesAreAnsweredUpstream(t *testing.T) {
	upstream := servertest.Mosquitto(t)
	s := newSite(t)
	s.commandable(upstream.Addr("mqtt"))
	boss := s.newBoss(upstream.Addr("mqtt"))
	s.startCloud()
	gateway := s.startGateway()
	device := s.newSleeper()
	device.subscribe()
	device.sleep()
	s.eventuallyStatus("commands can come", commandsUp)
	boss.put(`{"id":"1","topic":"dev/pump/set","payload":"on","ttl":"10m"}`)
	s.eventually("it is accepted", func() bool { return boss.answered("1", "accepted") })
	gateway.kill()
	s.startGateway()
	s.eventuallyStatus("commands can come", commandsUp)
	if boss.answered("1", "delivered") {
		t.Error("delivered to a device that sleeps")
	}
	device.wake()
	s.eventually("it is delivered", func() bool { return boss.answered("1", "delivered") })
	var counted dashboard.Status
	s.eventuallyStatus("it is counted", func(st dashboard.Status) bool {
		counted = st
		return commandsUp(st) && st.Commands.Delivered == 1
	})
	var text bytes.Buffer
	if err := writeStatus(&text, counted); err != nil || !strings.Contains(text.String(), "up, MQTT 5") || !strings.Contains(text.String(), "1 delivered") {
		t.Errorf("%v in\n%s", err, &text)
	}
	s.eventuallyDelivered()
}

// Without a rule there is no way down at all.
func TestNoCommandsUnlessAllowed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newSite(t)
	s.commandable(l.Addr().String())
	s.more = strings.Replace(s.more, `allow = ["dev/+/set"]`, "", 1)
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	gateway := s.startGateway()
	s.eventuallyStatus("it runs", func(st dashboard.Status) bool { return st.Commands == nil })
	gateway.stop()
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(time.Millisecond))
	if c, err := l.Accept(); err == nil {
		c.Close()
		t.Error("it connects, and no command is allowed")
	}
}
