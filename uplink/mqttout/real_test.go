package mqttout

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	paho3 "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	mpackets "github.com/mochi-mqtt/server/v2/packets"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

var rabbit = servertest.Share(servertest.RabbitMQ, servertest.User("gw", "s3cret"))

func TestMain(m *testing.M) { servertest.Main(m, rabbit, mosquitto) }

// patience bounds everything that must happen soon on a machine that has other
// things to do.
const patience = time.Minute

// seen is a message as an independent client was sent it.
type seen struct {
	topic, payload   string
	qos              byte
	retain           bool
	key, contentType string
	text             bool
	expires          bool
}

// watch5 subscribes with a client of somebody else's over MQTT 5.
func watch5(t *testing.T, address, filter string) <-chan seen {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	inbox := make(chan seen, 100_000)
	client := paho.NewClient(paho.ClientConfig{
		Conn: packets.NewThreadSafeConn(conn), PacketTimeout: patience,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			m := seen{topic: p.Packet.Topic, payload: string(p.Packet.Payload), qos: p.Packet.QoS, retain: p.Packet.Retain}
			if about := p.Packet.Properties; about != nil {
				m.key, m.contentType = about.User.Get(keyProperty), about.ContentType
				m.text, m.expires = about.PayloadFormat != nil && *about.PayloadFormat == 1, about.MessageExpiry != nil
			}
			inbox <- m
			return true, nil
		}},
	})
	t.Cleanup(func() { conn.Close(); <-client.Done() })
	// A name of its own: mochi may end a session of before late, and take that one's away.
	if _, err := client.Connect(t.Context(), &paho.Connect{ClientID: "reader-" + rand.Text(), CleanStart: true, KeepAlive: 60}); err != nil {
		t.Fatal(err)
	}
	// Without what is retained: a broker may send that after SUBACK, when the first
	// message of a test is there already, and comes twice.
	if _, err := client.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 2, RetainAsPublished: true, RetainHandling: 2}}}); err != nil {
		t.Fatal(err)
	}
	return inbox
}

// watch3 does so over MQTT 3.1.1, with a session that lasts.
func watch3(t testing.TB, address, user, password, filter string) <-chan seen {
	t.Helper()
	inbox := make(chan seen, 100_000)
	// A session of its own: that of another test may have messages left.
	options := paho3.NewClientOptions().AddBroker("tcp://" + address).SetClientID("reader-" + rand.Text()).SetUsername(user).SetPassword(password).
		SetProtocolVersion(4).SetCleanSession(false).SetConnectRetry(true).SetConnectRetryInterval(100 * time.Millisecond).
		SetMaxReconnectInterval(100 * time.Millisecond).
		SetDefaultPublishHandler(func(_ paho3.Client, m paho3.Message) {
			inbox <- seen{topic: m.Topic(), payload: string(m.Payload()), qos: m.Qos(), retain: m.Retained()}
		}).
		SetOnConnectHandler(func(c paho3.Client) { c.Subscribe(filter, 1, nil) })
	client := paho3.NewClient(options)
	t.Cleanup(func() {
		client.Unsubscribe(filter).WaitTimeout(time.Second) // or a server that others use would go on to keep messages
		client.Disconnect(0)
	})
	if token := client.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatal("reader:", token.Error())
	}
	if token := client.Subscribe(filter, 1, nil); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatal("reader:", token.Error())
	}
	return inbox
}

// collect waits for n different payloads, and returns how often each came.
func collect(t *testing.T, inbox <-chan seen, n int) map[string]int {
	t.Helper()
	got, end := map[string]int{}, time.After(patience)
	for len(got) < n {
		select {
		case m := <-inbox:
			got[m.payload]++
		case <-end:
			t.Fatalf("%d different messages arrived, want %d", len(got), n)
		}
	}
	return got
}

func next(t *testing.T, inbox <-chan seen) seen {
	t.Helper()
	select {
	case m := <-inbox:
		return m
	case <-time.After(patience):
		t.Fatal("nothing arrived")
		return seen{}
	}
}

// cut returns the n-th message, of parts readings of their own.
func cut(n, parts int) uplink.Message {
	first := uint64(n*parts + 1)
	m := uplink.Message{
		Key:         uplink.Key{Gateway: "north-7", Epoch: 0x4d2, Lane: reading.Normal, First: first, Last: first + uint64(parts) - 1},
		Count:       parts,
		ContentType: "application/json",
	}
	for i := range parts {
		seq := first + uint64(i)
		body := fmt.Sprintf(`{"seq":%d}`, seq)
		m.Parts = append(m.Parts, uplink.Part{
			Body: []byte(body), First: seq, Last: seq, Count: 1,
			Device: fmt.Sprintf("hall/dev+%d", i%7), Metric: "temp", Time: int64(seq),
		})
	}
	return m
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// everybody may do everything.
type everybody struct{ mochi.HookBase }

func (everybody) ID() string { return "everybody" }

func (everybody) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}

func (everybody) OnConnectAuthenticate(*mochi.Client, mpackets.Packet) bool { return true }

func (everybody) OnACLCheck(*mochi.Client, string, bool) bool { return true }

// mochiServer starts the broker that the gateway's own is made of.
func mochiServer(t *testing.T) string {
	t.Helper()
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := server.AddHook(new(everybody), nil); err != nil {
		t.Fatal(err)
	}
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0"})
	if err := server.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return l.Address()
}

func TestPartsArriveInTheirTopicsWithTheirProperties(t *testing.T) {
	mosquitto := servertest.Mosquitto(t).Addr("mqtt")
	for name, address := range map[string]string{"mosquitto": mosquitto, "mochi": mochiServer(t)} {
		for _, qos := range []byte{1, 2} {
			t.Run(fmt.Sprintf("%s/QoS%d", name, qos), func(t *testing.T) {
				prefix := fmt.Sprintf("q%d/", qos)
				inbox := watch5(t, address, prefix+"#")
				cfg := basic(address)
				cfg.Topic, cfg.QoS, cfg.Expiry, cfg.Retain = template(prefix+"{gateway}/{device}/{metric}"), qos, time.Hour, true
				sink := newSink(t, cfg)
				const messages, parts = 5, 100
				for n := range messages {
					if err := sink.Send(within(t), cut(n, parts)); err != nil {
						t.Fatal(err)
					}
				}
				for n := range messages {
					for i := range parts {
						seq := n*parts + i + 1
						want := seen{
							topic:   fmt.Sprintf("%snorth-7/hall/dev%%2B%d/temp", prefix, i%7),
							payload: fmt.Sprintf(`{"seq":%d}`, seq), qos: qos, retain: true,
							key: fmt.Sprintf("north-7/00000000000004d2/normal/%d-%d", seq, seq), contentType: "application/json", text: true, expires: true,
						}
						if got := next(t, inbox); got != want {
							t.Fatalf("got  %+v\nwant %+v", got, want)
						}
					}
				}
				t.Logf("%+v; %s", sink.Stats(), sink.current.terms)
			})
		}
	}
}

func TestServersOfMQTT311(t *testing.T) {
	mosquitto := servertest.Mosquitto(t)
	for _, c := range []struct {
		name, address, user, password string
		protocol                      Protocol
	}{
		{"Mosquitto", mosquitto.Addr("mqtt"), "", "", V311},
		{"RabbitMQ", rabbit.Get(t).Addr("mqtt"), "gw", "s3cret", Auto},
	} {
		for _, qos := range []byte{1, 2} {
			t.Run(fmt.Sprintf("%s/QoS%d", c.name, qos), func(t *testing.T) {
				inbox := watch3(t, c.address, c.user, c.password, "tg/#")
				cfg := basic(c.address)
				cfg.Topic, cfg.QoS, cfg.Protocol = template("tg/{gateway}/{device}/{metric}"), qos, c.protocol
				cfg.Username = c.user
				if c.password != "" {
					cfg.Password = uplinktest.Secret(t, c.password)
				}
				sink := newSink(t, cfg)
				about, err := sink.Probe(within(t))
				if err != nil || about != "MQTT 3.1.1" {
					t.Fatalf("probe: %q, %v", about, err)
				}
				if err := sink.Send(within(t), cut(0, 300)); err != nil {
					t.Fatal(err)
				}
				for payload, times := range collect(t, inbox, 300) {
					if times != 1 {
						t.Errorf("%s came %d times", payload, times)
					}
				}
			})
		}
	}
}

func TestAWrongPasswordWaitsForSomebody(t *testing.T) {
	mosquitto := servertest.Mosquitto(t, servertest.User("gw", "s3cret")).Addr("mqtt")
	for name, address := range map[string]string{"mosquitto": mosquitto, "RabbitMQ": rabbit.Get(t).Addr("mqtt")} {
		for _, protocol := range []Protocol{Auto, V311} {
			cfg := basic(address)
			cfg.Protocol, cfg.Username, cfg.Password = protocol, "gw", uplinktest.Secret(t, "wrong")
			err := newSink(t, cfg).Send(within(t), cut(0, 1))
			if delay, ok := uplink.RetryDelay(err); !ok || delay != uplink.ConfigDelay || !strings.Contains(err.Error(), "password_file") {
				t.Errorf("%s over %s: %v", name, protocol, err)
			}
			t.Log(err)
		}
	}
}

func TestTheGatewaysStateIsRetained(t *testing.T) {
	mosquitto := servertest.Mosquitto(t)
	for _, protocol := range []Protocol{V5, V311} {
		t.Run(string(protocol), func(t *testing.T) {
			inbox := watch5(t, mosquitto.Addr("mqtt"), "state/+/"+string(protocol))
			cfg := basic(mosquitto.Addr("mqtt"))
			cfg.Protocol = protocol
			cfg.State = &State{Topic: "state/north-7/" + string(protocol), Online: "here", Idle: "idle", Offline: "gone"}
			var conn net.Conn
			cfg.Dial = func(ctx context.Context, network, address string) (_ net.Conn, err error) {
				conn, err = new(net.Dialer).DialContext(ctx, network, address)
				return conn, err
			}
			sink := newSink(t, cfg)
			expect := func(want string) {
				t.Helper()
				if m := next(t, inbox); m.payload != want || !m.retain {
					t.Errorf("the state is %+v, want %s", m, want)
				}
			}
			if err := sink.Send(within(t), cut(0, 1)); err != nil {
				t.Fatal(err)
			}
			expect("here")
			conn.Close() // a cable that is cut: the will
			expect("gone")
			if err := sink.Send(within(t), cut(1, 1)); err != nil {
				t.Fatal(err)
			}
			expect("here")
			if err := sink.Close(); err != nil {
				t.Fatal(err)
			}
			expect("gone")
			if err := sink.Send(within(t), cut(1, 1)); !errors.Is(err, errRetired) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

// TestASecondConnectionCostsLess: TLS goes on with what the first has agreed on,
// and needs no certificates.
func TestASecondConnectionCostsLess(t *testing.T) {
	authority := servertest.NewAuthority(t)
	cfg := basic(servertest.Mosquitto(t, servertest.TLS(authority)).Addr("mqtts"))
	cfg.TLS = &tls.Config{RootCAs: authority.Pool()}
	var bytes, pieces atomic.Int64
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return counted{conn, &bytes, &pieces}, err
	}
	sink := newSink(t, cfg)
	var cost [2]int64
	for i := range cost {
		bytes.Store(0)
		if err := sink.Send(within(t), cut(i, 1)); err != nil {
			t.Fatal(err)
		}
		cost[i] = bytes.Load()
		if resumed := sink.current.conn.(*tls.Conn).ConnectionState().DidResume; resumed != (i == 1) {
			t.Errorf("connection %d: resumed is %v", i+1, resumed)
		}
		sink.current.fail(errClosed)
	}
	if cost[1] >= cost[0] {
		t.Errorf("the first connection cost %d bytes, the second %d", cost[0], cost[1])
	}
	t.Logf("the first connection with a message of 9 bytes cost %d bytes, the second %d", cost[0], cost[1])
}

// TestMQTTOverWebSocket, in both versions, and what is said where there is none.
func TestMQTTOverWebSocket(t *testing.T) {
	address := porttest.For(t)
	_, port, _ := net.SplitHostPort(address)
	server := servertest.Mosquitto(t, servertest.Config("listener "+port+" 127.0.0.1", "protocol websockets"))
	before := goleak.IgnoreCurrent()
	t.Run("Use", func(t *testing.T) {
		for _, protocol := range []Protocol{V5, V311} {
			inbox := watch5(t, server.Addr("mqtt"), "tg/"+string(protocol))
			cfg := basic(address)
			cfg.Path, cfg.Protocol, cfg.Topic = "/mqtt", protocol, template("tg/"+string(protocol))
			sink := newSink(t, cfg)
			for n := range 3 {
				if err := sink.Send(within(t), cut(n, 50)); err != nil {
					t.Fatal(err)
				}
				if n == 1 {
					sink.current.fail(errClosed)
				}
			}
			if got := collect(t, inbox, 150); len(got) != 150 {
				t.Errorf("%s: %d", protocol, len(got))
			}
		}
	})
	leaktest.None(t, before)
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	cfg := basic(strings.TrimPrefix(web.URL, "http://"))
	cfg.Path = "/mqtt"
	if err := newSink(t, cfg).Send(within(t), cut(0, 1)); classOf(err) != "transient" || !strings.Contains(err.Error(), "404 Not Found — hint: check the path") {
		t.Error(err)
	}
	cfg.Address = server.Addr("mqtt")
	if err := newSink(t, cfg).Send(within(t), cut(0, 1)); classOf(err) != "transient" || !strings.Contains(err.Error(), "hint: ") {
		t.Error(err)
	}
}
