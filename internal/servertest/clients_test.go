package servertest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/go-stomp/stomp/v3"
	"github.com/gomodule/redigo/redis"
	"github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"
)

// login is how a client of others' making comes in.
type login struct{ user, password string }

// hurry is how long a client waits for an acknowledgement.
const hurry = 3 * time.Second

// put stores one message and returns nil when the server has acknowledged it.
type put func(s *Server, who login, body []byte) error

// server is one of them, with a client that stores, and one that says whether there
// is anything.
type server struct {
	name    string
	start   func(testing.TB, ...Option) *Server
	put     put
	has     func(s *Server) (bool, error)
	forgets bool // what it has acknowledged, when it is killed
}

// take puts a message that is to be taken.
func (c server) take(s *Server, who login, body []byte) error {
	return inTime(func() error { return c.put(s, who, body) })
}

// killed returns a server that was killed when it had just taken a message. One that
// forgets gets no time to write it down: VictoriaMetrics does that after some ten seconds.
func (c server) killed(t *testing.T) *Server {
	for late := time.Now().Add(patience); ; {
		s := c.start(t, Only("amqp"))
		begun := time.Now()
		if err := c.take(s, login{}, []byte("kept")); err != nil {
			t.Fatal(err)
		}
		s.Kill()
		if !c.forgets || time.Since(begun) < hurry || time.Now().After(late) {
			return s
		}
	}
}

// forgot asks for a message that is not to be there.
func (c server) forgot(s *Server) error {
	return inTime(func() error {
		has, err := c.has(s)
		if has {
			err = errors.New("it has the message")
		}
		return err
	})
}

// kept asks for a message that is to be there.
func (c server) kept(s *Server) error {
	return inTime(func() error {
		has, err := c.has(s)
		if err == nil && !has {
			err = errors.New("it has nothing")
		}
		return err
	})
}

func servers() []server {
	return []server{
		{"ActiveMQ", ActiveMQ, putSTOMP, hasSTOMP, false},
		{"Redis", Redis, putRedis, hasRedis, false},
		{"NATS", NATS, putNATS, hasNATS, false},
		{"Mosquitto", Mosquitto, putMQTT, hasMQTT, true},
		{"InfluxDB", InfluxDB, putLine("/write?db=tide"), hasLine("/query?db=tide&q=select+*+from+tide", "pad"), false},
		{"VictoriaMetrics", VictoriaMetrics, putLine("/write"), hasLine("/api/v1/export?match=tide_value", "pad"), true},
		{"RabbitMQ", RabbitMQ, putAMQP, hasAMQP, false},
	}
}

func putAMQP(s *Server, who login, body []byte) error {
	if who.user == "" {
		who = login{"guest", "guest"}
	}
	conn, err := amqp.DialConfig(fmt.Sprintf("amqp://%s:%s@%s/", who.user, who.password, s.Addr("amqp")), amqp.Config{Dial: amqp.DefaultDial(hurry)})
	if err != nil {
		return err
	}
	defer conn.CloseDeadline(time.Now().Add(hurry))
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	if _, err := ch.QueueDeclare("tide", true, false, false, false, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), hurry)
	defer cancel()
	done, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", "tide", true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body})
	if err != nil {
		return err
	}
	ok, err := done.WaitContext(ctx)
	if err == nil && !ok {
		err = errors.New("not confirmed")
	}
	return err
}

func putSTOMP(s *Server, who login, body []byte) error {
	opts := []func(*stomp.Conn) error{stomp.ConnOpt.HeartBeat(0, 0), stomp.ConnOpt.RcvReceiptTimeout(hurry)}
	if who.user != "" {
		opts = append(opts, stomp.ConnOpt.Login(who.user, who.password))
	}
	conn, err := stomp.Dial("tcp", s.Addr("stomp"), opts...)
	if err != nil {
		return err
	}
	defer conn.MustDisconnect()
	return conn.Send("/queue/tide", "application/octet-stream", body, stomp.SendOpt.Receipt, stomp.SendOpt.Header("persistent", "true"))
}

func putRedis(s *Server, who login, body []byte) error {
	opts := []redis.DialOption{redis.DialReadTimeout(hurry)}
	if who.user != "" {
		opts = append(opts, redis.DialUsername(who.user), redis.DialPassword(who.password))
	}
	conn, err := redis.Dial("tcp", s.Addr("redis"), opts...)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Do("XADD", "tide", "*", "body", body)
	return err
}

func putNATS(s *Server, who login, body []byte) error {
	opts := []nats.Option{nats.NoReconnect(), nats.Timeout(hurry)}
	if who.user != "" {
		opts = append(opts, nats.UserInfo(who.user, who.password))
	}
	conn, err := nats.Connect("nats://"+s.Addr("nats"), opts...)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := conn.JetStream(nats.MaxWait(hurry))
	if err != nil {
		return err
	}
	_, err = js.AddStream(&nats.StreamConfig{Name: "TIDE", Subjects: []string{"tide"}, Storage: nats.FileStorage})
	if err != nil && !errors.Is(err, nats.ErrStreamNameAlreadyInUse) {
		return err
	}
	_, err = js.Publish("tide", body)
	return err
}

func putMQTT(s *Server, who login, body []byte) error {
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + s.Addr("mqtt")).SetClientID("putter").
		SetUsername(who.user).SetPassword(who.password).SetConnectRetry(false).SetAutoReconnect(false).SetConnectTimeout(hurry))
	defer client.Disconnect(0)
	if err := await(client.Connect()); err != nil {
		return err
	}
	return await(client.Publish("tide", 1, true, body))
}

// putLine stores a line whose text is as long as the body.
func putLine(path string) put {
	return func(s *Server, who login, body []byte) error {
		line := fmt.Sprintf("tide,pad=%s value=%d %d\n", strings.Repeat("x", min(len(body), 30_000)), len(body), time.Now().UnixNano())
		lines := strings.Repeat(line, 1+len(body)/30_000)
		return request(s, who, http.MethodPost, path, []byte(lines), nil)
	}
}

// request wants a good answer, and copies it to into.
func request(s *Server, who login, method, path string, body []byte, into io.Writer) error {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.Addr("http")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if who.user != "" {
		r.SetBasicAuth(who.user, who.password)
	}
	answer, err := (&http.Client{Transport: transport, Timeout: hurry}).Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s: %s", answer.Status, text)
	}
	if into != nil {
		_, err = into.Write(text)
	}
	return err
}
