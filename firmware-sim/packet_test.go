package firmwaresim

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

// The bytes below are written by hand after the tables of the two standards.
func TestPacketsAreTheStandardsBytes(t *testing.T) {
	message := Message{Topic: "a/b", Payload: []byte("hi"), QoS: 1}
	connect := ClientConfig{ClientID: "c", Username: "u", Password: "p", Version: MQTT3, KeepAlive: time.Minute, CleanSession: true}
	connect5 := ClientConfig{ClientID: "c", Version: MQTT5, KeepAlive: time.Minute}
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"connect 3.1.1":   {appendConnect(nil, connect), "10 13 0004 4d515454 04 c2 003c 0001 63 0001 75 0001 70"},
		"connect 5":       {appendConnect(nil, connect5), "10 13 0004 4d515454 05 00 003c 05 11 00015180 0001 63"},
		"publish 3.1.1":   {appendPublish(nil, MQTT3, message, 0x0102), "32 09 0003 612f62 0102 6869"},
		"publish 5":       {appendPublish(nil, MQTT5, message, 0x0102), "32 0a 0003 612f62 0102 00 6869"},
		"length 321":      {appendLength(nil, 321), "c1 02"},
		"length 127":      {appendLength(nil, 127), "7f"},
		"length 16384":    {appendLength(nil, 16384), "80 80 01"},
		"publish at QoS0": {appendPublish(nil, MQTT3, Message{Topic: "a"}, 9), "30 03 0001 61"},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(c.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(c.got, want) {
			t.Errorf("%s: got % x, want % x", name, c.got, want)
		}
	}
}

func TestConnackProperties(t *testing.T) {
	body := []byte{0, 0, 19,
		0x21, 0, 10, // Receive Maximum
		0x12, 0, 2, 'i', 'd', // Assigned Client Identifier
		0x26, 0, 1, 'k', 0, 1, 'v', // User Property
		0x13, 0, 5, // Server Keep Alive
		0x25, // Retain Available, cut short
	}
	if _, err := parseConnack(body, MQTT5); err == nil {
		t.Fatal("a property that is cut short passed")
	}
	body[2] = 18
	ack, err := parseConnack(body, MQTT5)
	if err != nil || ack.receiveMaximum != 10 || ack.keepAlive != 5*time.Second {
		t.Fatalf("got %+v, %v", ack, err)
	}
}

func FuzzConnack(f *testing.F) {
	f.Add([]byte{0, 0, 6, 0x21, 0, 10, 0x13, 0, 5})
	f.Add([]byte{0, 0, 7, 0x26, 0, 1, 'k', 0, 1, 'v'})
	f.Fuzz(func(t *testing.T, body []byte) {
		ack, err := parseConnack(body, MQTT5)
		if err == nil && (ack.receiveMaximum < 0 || ack.receiveMaximum > maxWindow) {
			t.Fatalf("% x: %+v", body, ack)
		}
	})
}

func FuzzPacketsFromTheBroker(f *testing.F) {
	f.Add([]byte{packetConnack, 2, 0, 0, packetPuback, 2, 0, 1, packetPubrec, 3, 0, 2, 0x97})
	f.Fuzz(func(t *testing.T, b []byte) {
		client := NewClient(ClientConfig{Version: MQTT5, Window: 3})
		for qos := range byte(3) {
			f, _ := client.window.push()
			f.qos, f.frame = qos, []byte{packetPublish}
		}
		used, _, err := client.take(nil, b)
		if used > len(b) || err == nil && client.window.inFlight() > 3 {
			t.Fatalf("took %d of %d bytes, %d in flight", used, len(b), client.window.inFlight())
		}
	})
}
