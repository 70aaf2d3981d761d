package servertest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/go-stomp/stomp/v3"
	"github.com/gomodule/redigo/redis"
	"github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"
)

func hasAMQP(s *Server) (bool, error) {
	conn, err := amqp.Dial("amqp://guest:guest@" + s.Addr("amqp") + "/")
	if err != nil {
		return false, err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return false, err
	}
	_, ok, err := ch.Get("tide", true)
	return ok, err
}

func hasSTOMP(s *Server) (bool, error) {
	conn, err := stomp.Dial("tcp", s.Addr("stomp"), stomp.ConnOpt.HeartBeat(0, 0))
	if err != nil {
		return false, err
	}
	defer conn.MustDisconnect()
	sub, err := conn.Subscribe("/queue/tide", stomp.AckAuto)
	if err != nil {
		return false, err
	}
	select {
	case m := <-sub.C:
		return m.Err == nil, m.Err
	case <-time.After(hurry):
		return false, nil
	}
}

func hasRedis(s *Server) (bool, error) {
	conn, err := redis.Dial("tcp", s.Addr("redis"))
	if err != nil {
		return false, err
	}
	defer conn.Close()
	n, err := redis.Int(conn.Do("XLEN", "tide"))
	return n > 0, err
}

func hasNATS(s *Server) (bool, error) {
	conn, err := nats.Connect("nats://" + s.Addr("nats"))
	if err != nil {
		return false, err
	}
	defer conn.Close()
	js, err := conn.JetStream(nats.MaxWait(hurry))
	if err != nil {
		return false, err
	}
	info, err := js.StreamInfo("TIDE")
	if err != nil {
		return false, err
	}
	return info.State.Msgs > 0, nil
}

// hasMQTT asks for the retained message.
func hasMQTT(s *Server) (bool, error) {
	found := make(chan bool, 1)
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + s.Addr("mqtt")).SetClientID("reader").SetConnectTimeout(hurry))
	defer client.Disconnect(0)
	if err := await(client.Connect()); err != nil {
		return false, err
	}
	if err := await(client.Subscribe("#", 1, func(mqtt.Client, mqtt.Message) { found <- true })); err != nil {
		return false, err
	}
	select {
	case <-found:
		return true, nil
	case <-time.After(time.Second):
		return false, nil
	}
}

// hasLine asks a database that shows what it was given within two seconds.
func hasLine(path, want string) func(s *Server) (bool, error) {
	return func(s *Server) (bool, error) {
		late := time.NewTimer(hurry)
		defer late.Stop()
		often := time.NewTicker(100 * time.Millisecond)
		defer often.Stop()
		for {
			var text bytes.Buffer
			err := request(s, login{}, http.MethodGet, path, nil, &text)
			if err != nil || strings.Contains(text.String(), want) {
				return err == nil, err
			}
			select {
			case <-late.C:
				return false, nil
			case <-often.C:
			}
		}
	}
}

// await waits for paho.
func await(token mqtt.Token) error {
	if !token.WaitTimeout(hurry) {
		return errors.Join(context.DeadlineExceeded, token.Error())
	}
	return token.Error()
}
