package mqttin

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// Clients that others have written are the ones that count.

// longPatience is for processes, which may take seconds to start on a machine that
// has other things to do.
const longPatience = time.Minute

// how says how a real client connects.
type how struct {
	URL         string `json:"url"` // tcp://, tls:// or ws://
	CA          string `json:"ca"`  // file of the authority, for TLS
	Version     int    `json:"version"`
	ID          string `json:"id"`
	Clean       bool   `json:"clean"` // no session, before and after
	Will        string `json:"will"`  // its topic; empty for none
	WillPayload string `json:"will_payload"`
}

// received is a message that a real client was sent.
type received struct {
	Topic   string `json:"topic"`
	Payload string `json:"payload"`
	Retain  bool   `json:"retain"`
}

// realClient is a client of some library that is connected.
type realClient interface {
	subscribe(topic string, qos byte) error
	// publish returns when the message has been acknowledged.
	publish(topic, payload string, qos byte, retain bool) error
	messages() <-chan received
	// leave disconnects, or without politeness only closes the connection.
	leave(politely bool) error
}

// library is a way to connect. present says that the session was known.
type library struct {
	name     string
	versions []int
	slow     bool // it takes processes
	connect  func(t *testing.T, h how) (c realClient, present bool, err error)
}

func libraries() []library {
	return []library{
		{"paho.mqtt.golang", []int{4}, false, connectPahoV3},
		{"paho.golang", []int{5}, false, connectPahoV5},
		{"paho for Python", []int{4, 5}, true, connectPython},
		{"MQTT.js", []int{4, 5}, true, connectJavaScript},
	}
}

func TestRealClients(t *testing.T) {
	ca := newAuthority(t)
	custody := instant()
	src := start(t, custody, Config{TLS: ca.server("", false), ListenPlain: "127.0.0.1:0", ConnectTimeout: longPatience})
	web := overHTTP(t, src)
	places := src.places.Wait(t.Context())
	secure, plain := places[0], places[1]
	dialogues := 0
	for _, lib := range libraries() {
		for _, url := range []string{"tcp://" + plain.String(), "tls://" + secure.String(), "ws" + web[len("http"):] + "/mqtt"} {
			for _, version := range lib.versions {
				if lib.slow && (version == 5 && strings.HasPrefix(url, "tls") || version == 4 && strings.HasPrefix(url, "ws")) {
					continue // each version and each transport is enough
				}
				dialogues++
				d := &dialogue{lib: lib, custody: custody, payloads: 1000 * dialogues, through: map[string]bool{},
					how: how{URL: url, CA: ca.path("ca.pem"), Version: version}, topic: fmt.Sprintf("%s/%.3s/%d", lib.name, url, version)}
				t.Run(d.topic, func(t *testing.T) {
					t.Parallel()
					d.t = t
					d.publishAndSubscribe()
					d.retain()
					d.die()
					d.comeBack()
					d.audit()
				})
			}
		}
	}
}

// dialogue is what a broker is for, once through.
type dialogue struct {
	t        *testing.T
	lib      library
	how      how
	topic    string // everything is below it
	custody  *ingesttest.Custody
	payloads int             // counts up; no other dialogue has the same
	through  map[string]bool // payloads that were acknowledged or have come through
}

func (d *dialogue) publishAndSubscribe() {
	d.t.Helper()
	reader := d.connect("reader", true)
	d.must(reader.subscribe(d.topic+"/echo/#", 2))
	writer := d.connect("writer", true)
	for qos := range byte(3) {
		payload := d.payload()
		d.must(writer.publish(d.topic+"/echo/x", payload, qos, false))
		d.expect(reader, received{d.topic + "/echo/x", payload, false})
	}
	d.must(errors.Join(reader.leave(true), writer.leave(true)))
}

func (d *dialogue) retain() {
	d.t.Helper()
	writer := d.connect("writer", true)
	payload := d.payload()
	d.must(writer.publish(d.topic+"/retained", payload, 1, true))
	reader := d.connect("reader", true)
	d.must(reader.subscribe(d.topic+"/retained", 1))
	d.expect(reader, received{d.topic + "/retained", payload, true})
	d.must(errors.Join(reader.leave(true), writer.leave(true)))
}

// die lets a client with a will vanish.
func (d *dialogue) die() {
	d.t.Helper()
	heir := d.connect("heir", true)
	d.must(heir.subscribe(d.topic+"/will", 1))
	d.how.Will, d.how.WillPayload = d.topic+"/will", d.payload()
	d.must(d.connect("mortal", true).leave(false))
	d.expect(heir, received{d.how.Will, d.how.WillPayload, false})
	d.how.Will = ""
	d.must(heir.leave(true))
}

// comeBack leaves a session and comes back to it.
func (d *dialogue) comeBack() {
	d.t.Helper()
	writer := d.connect("writer", true)
	for _, politely := range []bool{true, false} {
		away := d.connect("traveller", false)
		d.must(away.subscribe(d.topic+"/later", 1))
		d.must(away.leave(politely))
		payload := d.payload()
		d.must(writer.publish(d.topic+"/later", payload, 1, false))
		back, present, err := d.lib.connect(d.t, d.as("traveller", false))
		d.must(err)
		if !present {
			d.t.Error("the session was forgotten")
		}
		d.expectNew(back, received{d.topic + "/later", payload, false})
		d.must(back.leave(true))
	}
	d.must(writer.leave(true))
}

// audit checks that custody has everything that was acknowledged, once.
func (d *dialogue) audit() {
	d.t.Helper()
	times := map[string]int{}
	retry(d.t, func() bool { // a will has no acknowledgement, and is shown first
		clear(times)
		for _, r := range d.custody.Taken(d.t, 0) {
			if payload := fmt.Sprint(r.Value.Float()); d.through[payload] {
				times[payload]++
			}
		}
		return len(times) == len(d.through)
	})
	for payload, n := range times {
		if n != 1 {
			d.t.Errorf("%s is in custody %d times", payload, n)
		}
	}
}

func (d *dialogue) as(id string, clean bool) how {
	h := d.how
	h.ID, h.Clean = d.topic+"/"+id, clean
	return h
}

func (d *dialogue) connect(id string, clean bool) realClient {
	d.t.Helper()
	c, _, err := d.lib.connect(d.t, d.as(id, clean))
	d.must(err)
	return c
}

// payload returns a number that no other message has.
func (d *dialogue) payload() string {
	d.payloads++
	payload := fmt.Sprint(d.payloads)
	d.through[payload] = true
	return payload
}

// expect waits for one message, which is to be the next.
func (d *dialogue) expect(c realClient, want received) {
	d.t.Helper()
	if got := d.next(c, want); got != want {
		d.t.Fatalf("got %+v, want %+v", got, want)
	}
}

// expectNew is expect of a client that may be sent what it has had again: it left before
// its acknowledgement did.
func (d *dialogue) expectNew(c realClient, want received) {
	d.t.Helper()
	got := d.next(c, want)
	for got != want && got.Topic == want.Topic && d.through[got.Payload] {
		got = d.next(c, want)
	}
	if got != want {
		d.t.Fatalf("got %+v, want %+v", got, want)
	}
}

func (d *dialogue) next(c realClient, want received) (got received) {
	d.t.Helper()
	select {
	case got = <-c.messages():
	case <-time.After(longPatience):
		d.t.Fatalf("got nothing, want %+v", want)
	}
	return got
}

func (d *dialogue) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func connectPython(t *testing.T, h how) (realClient, bool, error) {
	const install = "no paho for Python: apt-get install python3-paho-mqtt"
	// Debian's modules are Debian's Python's.
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import paho.mqtt.client").Run() == nil {
			return connectPuppet(t, h, python, "clienttest/client.py")
		}
	}
	t.Skip(install)
	return nil, false, nil
}

func connectJavaScript(t *testing.T, h how) (realClient, bool, error) {
	const install = "no MQTT.js: apt-get install nodejs npm && npm install --prefix ingest/mqttin/clienttest"
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip(install)
	}
	if _, err := os.Stat("clienttest/node_modules/mqtt"); err != nil {
		t.Skip(install)
	}
	return connectPuppet(t, h, "node", "clienttest/client.mjs")
}
