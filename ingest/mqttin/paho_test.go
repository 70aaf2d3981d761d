package mqttin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"testing"

	"github.com/coder/websocket"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	paho3 "github.com/eclipse/paho.mqtt.golang"
)

var errImpatient = errors.New("not acknowledged in time")

// pahoV3 is a client of paho.mqtt.golang.
type pahoV3 struct {
	client paho3.Client
	conn   net.Conn
	inbox  chan received
}

func connectPahoV3(t *testing.T, h how) (realClient, bool, error) {
	c := &pahoV3{inbox: make(chan received, 8)}
	options := paho3.NewClientOptions().AddBroker(h.URL).SetClientID(h.ID).SetProtocolVersion(uint(h.Version)).
		SetCleanSession(h.Clean).SetAutoReconnect(false).SetConnectTimeout(longPatience).
		SetDefaultPublishHandler(func(_ paho3.Client, m paho3.Message) {
			c.inbox <- received{m.Topic(), string(m.Payload()), m.Retained()}
		}).
		SetCustomOpenConnectionFn(func(*url.URL, paho3.ClientOptions) (_ net.Conn, err error) {
			c.conn, err = openConnection(h)
			return c.conn, err
		})
	if h.Will != "" {
		options.SetWill(h.Will, h.WillPayload, 1, false)
	}
	c.client = paho3.NewClient(options)
	t.Cleanup(func() { c.client.Disconnect(0) })
	token := c.client.Connect()
	if err := inTime(token); err != nil {
		return nil, false, err
	}
	return c, token.(*paho3.ConnectToken).SessionPresent(), nil
}

func inTime(token paho3.Token) error {
	if !token.WaitTimeout(longPatience) {
		return errImpatient
	}
	return token.Error()
}

func (c *pahoV3) subscribe(topic string, qos byte) error {
	return inTime(c.client.Subscribe(topic, qos, nil))
}

func (c *pahoV3) publish(topic, payload string, qos byte, retain bool) error {
	return inTime(c.client.Publish(topic, qos, retain, payload))
}

func (c *pahoV3) messages() <-chan received { return c.inbox }

func (c *pahoV3) leave(politely bool) error {
	if !politely {
		return c.conn.Close()
	}
	c.client.Disconnect(250)
	return nil
}

// pahoV5 is a client of paho.golang.
type pahoV5 struct {
	client *paho.Client
	conn   net.Conn
	inbox  chan received
}

func connectPahoV5(t *testing.T, h how) (realClient, bool, error) {
	conn, err := openConnection(h)
	if err != nil {
		return nil, false, err
	}
	c := &pahoV5{conn: conn, inbox: make(chan received, 8)}
	c.client = paho.NewClient(paho.ClientConfig{
		Conn: packets.NewThreadSafeConn(conn), PacketTimeout: longPatience,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			c.inbox <- received{p.Packet.Topic, string(p.Packet.Payload), p.Packet.Retain}
			return true, nil
		}},
	})
	hello := &paho.Connect{ClientID: h.ID, CleanStart: h.Clean, KeepAlive: 60}
	if !h.Clean {
		expiry := uint32(300)
		hello.Properties = &paho.ConnectProperties{SessionExpiryInterval: &expiry}
	}
	if h.Will != "" {
		hello.WillMessage = &paho.WillMessage{Topic: h.Will, Payload: []byte(h.WillPayload), QoS: 1}
		hello.WillProperties = &paho.WillProperties{}
	}
	t.Cleanup(func() {
		conn.Close()
		<-c.client.Done()
	})
	ack, err := c.client.Connect(t.Context(), hello)
	if err != nil {
		return nil, false, err
	}
	return c, ack.SessionPresent, nil
}

func (c *pahoV5) subscribe(topic string, qos byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), longPatience)
	defer cancel()
	_, err := c.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: qos}}})
	return err
}

func (c *pahoV5) publish(topic, payload string, qos byte, retain bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), longPatience)
	defer cancel()
	_, err := c.client.Publish(ctx, &paho.Publish{Topic: topic, Payload: []byte(payload), QoS: qos, Retain: retain})
	return err
}

func (c *pahoV5) messages() <-chan received { return c.inbox }

func (c *pahoV5) leave(politely bool) error {
	if !politely {
		return c.conn.Close()
	}
	return c.client.Disconnect(&paho.Disconnect{})
}

// openConnection opens what the Go clients speak on, so that it can be closed
// under them.
func openConnection(h how) (net.Conn, error) {
	at, err := url.Parse(h.URL)
	if err != nil {
		return nil, err
	}
	switch at.Scheme {
	case "ws":
		ctx, cancel := context.WithTimeout(context.Background(), longPatience)
		defer cancel()
		ws, _, err := websocket.Dial(ctx, h.URL, &websocket.DialOptions{
			HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, Subprotocols: []string{"mqtt"},
		})
		if err != nil {
			return nil, err
		}
		return abrupt{websocket.NetConn(context.Background(), ws, websocket.MessageBinary), ws}, nil
	case "tls":
		roots := x509.NewCertPool()
		text, err := os.ReadFile(h.CA)
		if err != nil || !roots.AppendCertsFromPEM(text) {
			return nil, errors.Join(err, errors.New("no authority"))
		}
		return tls.Dial("tcp", at.Host, &tls.Config{RootCAs: roots})
	}
	return net.Dial("tcp", at.Host)
}

// abrupt is a WebSocket that is closed without a word.
type abrupt struct {
	net.Conn
	ws *websocket.Conn
}

func (a abrupt) Close() error { return a.ws.CloseNow() }
