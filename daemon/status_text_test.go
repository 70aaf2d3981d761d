package daemon

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/dashboard"
)

func TestStatusNamesWhatADoorRefusedAndNothingElse(t *testing.T) {
	for _, tt := range []struct {
		door dashboard.Door
		want string
	}{
		{dashboard.Door{Name: "mqtt"}, ""},
		{dashboard.Door{Name: "mqtt", Denied: 3}, "\nmqtt: 3 publishes and subscriptions against the rules\n"},
		{dashboard.Door{Name: "mqtt", BadLogins: 1, TurnedAway: 2, Malformed: 4, NotStored: 5, Undelivered: 6},
			"\nmqtt: 1 logins refused, 2 connections too many, 4 connections ended by a broken packet, " +
				"5 messages not stored and not acknowledged, 6 messages that local subscribers missed\n"},
		{dashboard.Door{Name: "mqtt", NotRetained: 1, Oversubscribed: 2, Forgotten: 3, Slowed: 4},
			"\nmqtt: 1 messages not retained for want of room, 2 subscriptions too many, " +
				"3 sessions that made room for others, 4 waits of clients that sent too fast\n"},
		{dashboard.Door{Name: "mqtt", Kind: "coap", Malformed: 4}, "\nmqtt: 4 datagrams that are no CoAP\n"},
		{dashboard.Door{Name: "mqtt", Kind: "http", TooLarge: 4}, "\nmqtt: 4 requests too large\n"},
	} {
		var text bytes.Buffer
		if err := writeStatus(&text, dashboard.Status{Doors: []dashboard.Door{tt.door}}); err != nil {
			t.Fatal(err)
		}
		if tt.want == "" && strings.Contains(text.String(), "mqtt: ") || !strings.Contains(text.String(), tt.want) {
			t.Errorf("%+v: got\n%s", tt.door, &text)
		}
		asJSON, err := json.Marshal(tt.door)
		if err != nil || strings.Contains(string(asJSON), "denied") != (tt.door.Denied > 0) {
			t.Errorf("got %s, %v", asJSON, err)
		}
	}
}

// What a broker refuses is in the status of the gateway.
func TestStatusCountsWhatTheBrokerRefused(t *testing.T) {
	s := newSite(t)
	s.startGateway()
	s.eventually("the broker listens", func() bool { return listens(s.mqtt) })
	conn, err := net.Dial("tcp", s.mqtt)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "\x30\x00") // a publish of nobody
	s.eventuallyStatus("a broken packet is counted", func(st dashboard.Status) bool { return st.Doors[0].Malformed == 1 })
}
