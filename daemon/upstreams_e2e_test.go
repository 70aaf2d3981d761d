package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/go-stomp/stomp/v3"
	"github.com/gomodule/redigo/redis"
	"github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/internal/servertest"
)

// The credentials that the gateway has at every real server.
const (
	realUser     = "north-7"
	realPassword = "s3cr3t-real"
)

// theEnd is what a reader sends behind what it reads, where the server cannot say how much
// that is: silence may be a server that is busy.
const theEnd = "the end"

// overAMQP sends to a durable queue of RabbitMQ.
func overAMQP(t *testing.T) realUpstream {
	u := rabbitQueue(t)
	if u.server != nil {
		u.keys = fmt.Sprintf("url = %q\nusername = %q\npassword_file = %q\nrouting_key = \"tide\"",
			"amqp://"+u.server.Addr("amqp"), realUser, secret(t, realPassword))
	}
	return u
}

// overAMQP1 sends to one over AMQP 1.0, and it is read over 0-9-1.
func overAMQP1(t *testing.T) realUpstream {
	u := rabbitQueue(t)
	if u.server != nil {
		u.keys = fmt.Sprintf("url = %q\nusername = %q\npassword_file = %q\naddress = \"/amq/queue/tide\"",
			"amqp://"+u.server.Addr("amqp1.0"), realUser, secret(t, realPassword))
	}
	return u
}

func rabbitQueue(t *testing.T) realUpstream {
	s := servertest.RabbitMQ(t, servertest.User(realUser, realPassword), servertest.Only("amqp"), servertest.OrNil())
	if s == nil {
		return realUpstream{}
	}
	inQueue(t, s, func(*amqp.Channel) error { return nil })
	return realUpstream{server: s, read: func(t *testing.T) (bodies [][]byte) {
		inQueue(t, s, func(ch *amqp.Channel) error {
			for {
				m, ok, err := ch.Get("tide", true)
				if err != nil || !ok {
					return err
				}
				bodies = append(bodies, m.Body)
			}
		})
		return bodies
	}}
}

// inQueue opens a channel on which the queue is there.
func inQueue(t *testing.T, s *servertest.Server, do func(*amqp.Channel) error) {
	t.Helper()
	conn, err := amqp.Dial(fmt.Sprintf("amqp://%s:%s@%s/", realUser, realPassword, s.Addr("amqp")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err == nil {
		_, err = ch.QueueDeclare("tide", true, false, false, false, nil)
	}
	if err == nil {
		err = do(ch)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// overSTOMP sends to a queue of ActiveMQ.
func overSTOMP(t *testing.T) realUpstream {
	s := servertest.ActiveMQ(t, servertest.User(realUser, realPassword), servertest.OrNil())
	if s == nil {
		return realUpstream{}
	}
	return realUpstream{server: s,
		keys: fmt.Sprintf("url = %q\nusername = %q\npassword_file = %q\ndestination = \"/queue/tide\"",
			"stomp://"+s.Addr("stomp"), realUser, secret(t, realPassword)),
		read: func(t *testing.T) (bodies [][]byte) {
			conn, err := stomp.Dial("tcp", s.Addr("stomp"), stomp.ConnOpt.Login(realUser, realPassword), stomp.ConnOpt.HeartBeat(0, 0))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Disconnect()
			sub, err := conn.Subscribe("/queue/tide", stomp.AckAuto)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Send("/queue/tide", "text/plain", []byte(theEnd), stomp.SendOpt.Receipt); err != nil {
				t.Fatal(err)
			}
			for {
				select {
				case m := <-sub.C:
					switch {
					case m.Err != nil:
						t.Fatal(m.Err)
					case string(m.Body) == theEnd:
						return bodies
					}
					bodies = append(bodies, m.Body)
				case <-time.After(patience):
					t.Fatalf("no end behind %d messages", len(bodies))
				}
			}
		}}
}

// overRedis sends to a stream.
func overRedis(t *testing.T) realUpstream {
	s := servertest.Redis(t, servertest.User(realUser, realPassword), servertest.OrNil())
	if s == nil {
		return realUpstream{}
	}
	return realUpstream{server: s,
		keys: fmt.Sprintf("url = %q\nusername = %q\npassword_file = %q\nstream = \"tide\"",
			"redis://"+s.Addr("redis"), realUser, secret(t, realPassword)),
		read: func(t *testing.T) (bodies [][]byte) {
			conn, err := redis.Dial("tcp", s.Addr("redis"), redis.DialUsername(realUser), redis.DialPassword(realPassword))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			entries, err := redis.Values(conn.Do("XRANGE", "tide", "-", "+"))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				entry, err := redis.Values(e, nil)
				if err != nil {
					t.Fatal(err)
				}
				fields, err := redis.StringMap(entry[1], nil)
				if err != nil {
					t.Fatal(err)
				}
				bodies = append(bodies, []byte(fields["body"]))
			}
			return bodies
		}}
}

// overNATS sends to a stream of JetStream.
func overNATS(t *testing.T) realUpstream {
	s := servertest.NATS(t, servertest.User(realUser, realPassword), servertest.OrNil())
	if s == nil {
		return realUpstream{}
	}
	inStream(t, s, func(js nats.JetStreamContext) error {
		_, err := js.AddStream(&nats.StreamConfig{Name: "TIDE", Subjects: []string{"tide.>"}, Storage: nats.FileStorage})
		return err
	})
	return realUpstream{server: s,
		keys: fmt.Sprintf("urls = [%q]\nusername = %q\npassword_file = %q\nsubject = \"tide.{gateway}\"",
			"nats://"+s.Addr("nats"), realUser, secret(t, realPassword)),
		read: func(t *testing.T) (bodies [][]byte) {
			inStream(t, s, func(js nats.JetStreamContext) error {
				sub, err := js.SubscribeSync("tide.>", nats.OrderedConsumer())
				if err != nil {
					return err
				}
				about, err := js.StreamInfo("TIDE")
				if err != nil {
					return err
				}
				for range about.State.Msgs {
					m, err := sub.NextMsg(patience)
					if err != nil {
						return err
					}
					bodies = append(bodies, m.Data)
				}
				return nil
			})
			return bodies
		}}
}

func inStream(t *testing.T, s *servertest.Server, do func(nats.JetStreamContext) error) {
	t.Helper()
	conn, err := nats.Connect("nats://"+s.Addr("nats"), nats.UserInfo(realUser, realPassword))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := conn.JetStream(nats.MaxWait(patience))
	if err == nil {
		err = do(js)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// overMQTT sends to mosquitto, which keeps everything for a subscriber that is away.
func overMQTT(t *testing.T) realUpstream {
	s := servertest.Mosquitto(t, servertest.User(realUser, realPassword), servertest.OrNil())
	if s == nil {
		return realUpstream{}
	}
	subscribed := func(t *testing.T, take mqtt.MessageHandler) mqtt.Client {
		client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + s.Addr("mqtt")).SetClientID("auditor").SetCleanSession(false).
			SetUsername(realUser).SetPassword(realPassword).SetDefaultPublishHandler(take).SetAutoReconnect(false))
		for _, do := range []func() mqtt.Token{
			client.Connect,
			func() mqtt.Token { return client.Subscribe("audit/#", 1, nil) },
		} {
			token := do()
			if !token.WaitTimeout(patience) || token.Error() != nil {
				t.Fatal(errors.Join(token.Error(), context.DeadlineExceeded))
			}
		}
		return client
	}
	subscribed(t, func(mqtt.Client, mqtt.Message) {}).Disconnect(100) // and away
	return realUpstream{server: s, forgets: true,
		keys: fmt.Sprintf("url = %q\nusername = %q\npassword_file = %q\ntopic = \"audit/{gateway}/{lane}\"",
			"mqtt://"+s.Addr("mqtt"), realUser, secret(t, realPassword)),
		read: func(t *testing.T) (bodies [][]byte) {
			var mu sync.Mutex
			ended := make(chan struct{})
			client := subscribed(t, func(_ mqtt.Client, m mqtt.Message) {
				if string(m.Payload()) == theEnd {
					close(ended)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				bodies = append(bodies, m.Payload())
			})
			defer client.Disconnect(100)
			if token := client.Publish("audit/end", 1, false, theEnd); !token.WaitTimeout(patience) || token.Error() != nil {
				t.Fatalf("the end: %v", token.Error())
			}
			select {
			case <-ended:
			case <-time.After(patience):
				t.Error("the end does not come")
			}
			mu.Lock()
			defer mu.Unlock()
			return bodies
		}}
}
