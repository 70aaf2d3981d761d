package coapin

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/reading"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// device is an ingesttest.Peer. n is token and message ID.
type device struct {
	*client
	kind kind
}

func (d device) Send(n int) {
	m := message{kind: d.kind, code: post, id: uint16(n), token: []byte{byte(n)}}
	d.send(m.with(optUriPath, []byte("d")...).carrying(fmt.Sprintf(`{"n":%d}`, n)))
}

func (d device) Acked(ctx context.Context) (int, error) {
	until, _ := ctx.Deadline()
	m, err := d.receiveWithin(time.Until(until))
	switch {
	case err != nil:
		return 0, err
	case m.code != changed:
		return 0, fmt.Errorf("answer %v", m.code)
	case d.kind == confirmable && (m.kind != acknowledgement || m.id != uint16(m.token[0])):
		return 0, fmt.Errorf("answer of kind %d, id %d", m.kind, m.id)
	}
	return int(m.token[0]), nil
}

func (d device) Garbage(b []byte) { d.sendBytes(b) }

func TestDoor(t *testing.T) {
	for name, k := range map[string]kind{"Confirmable": confirmable, "NonConfirmable": nonConfirmable} {
		t.Run(name, func(t *testing.T) {
			ingesttest.Run(t, ingesttest.Door{
				New: func(t *testing.T) ingest.Source { return newSource(t, Config{}) },
				Speak: func(t *testing.T, s ingest.Source) ingesttest.Peer {
					return device{dial(t, plainAddr(t, s.(*Source))), k}
				},
			})
		})
	}
}

func TestReadings(t *testing.T) {
	custody := instant()
	s := start(t, custody, Config{})
	c := dial(t, plainAddr(t, s))
	for i, tt := range []struct {
		method  code
		path    []string
		payload string
		want    reading.Reading
	}{
		{post, []string{"home", "kitchen", "temp"}, "21.5", reading.Reading{Device: "home/kitchen", Metric: "temp", Value: reading.Float(21.5)}},
		{put, []string{"home", "kitchen"}, `{"temp":21.5}`, reading.Reading{Device: "home/kitchen", Metric: "temp", Value: reading.Float(21.5)}},
		{post, []string{"alarm", "door"}, `{"open":true}`, reading.Reading{Device: "door", Metric: "open", Value: reading.Bool(true), Lane: reading.Alarm}},
		{post, []string{"raw", "x"}, "\x00\xff", reading.Reading{Device: "raw/x", Metric: "raw", Value: reading.Bytes("\x00\xff")}},
		{post, []string{"broken"}, `{"temp":`, reading.Reading{Device: "broken", Metric: "raw", Value: reading.Bytes(`{"temp":`)}},
		{post, []string{"empty"}, "", reading.Reading{Device: "empty", Metric: "raw", Value: reading.Bytes("")}},
	} {
		c.expect(c.request(confirmable, tt.method, tt.path...).carrying(tt.payload), changed)
		got := custody.Taken(t, i+1)[i]
		tt.want.Time, tt.want.Flags = got.Time, reading.Stamped
		if got != tt.want {
			t.Errorf("%v: got %+v, want %+v", tt.path, got, tt.want)
		}
	}
	if got := s.Stats(); got.Requests != 6 || got.Opaque != 2 || got.Endpoints != 1 {
		t.Errorf("%+v", got)
	}
}
