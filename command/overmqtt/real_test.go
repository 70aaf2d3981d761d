package overmqtt

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/command/commandtest"
	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// boss is a client of somebody else's that gives commands and reads answers.
func boss(t *testing.T, address string) (put func(*testing.T, string), answers <-chan command.Answer, ready <-chan struct{}) {
	t.Helper()
	inbox := make(chan command.Answer, 1000)
	options := paho.NewClientOptions().AddBroker("tcp://" + address).SetClientID("boss").SetUsername("gw").SetPassword("s3cret").
		SetProtocolVersion(4).SetCleanSession(false).SetConnectRetry(true).SetConnectRetryInterval(50 * time.Millisecond).
		SetMaxReconnectInterval(100 * time.Millisecond)
	subscribed := make(chan struct{}, 100)
	options.SetOnConnectHandler(func(c paho.Client) { // each time: the server may have forgotten the session
		c.Subscribe("answers/north-7", 1, func(_ paho.Client, m paho.Message) {
			var a command.Answer
			if err := json.Unmarshal(m.Payload(), &a); err != nil {
				t.Errorf("%s: %v", m.Payload(), err)
			}
			inbox <- a
		}).Wait()
		subscribed <- struct{}{}
	})
	client := paho.NewClient(options)
	wait := func(token paho.Token) {
		t.Helper()
		if !token.WaitTimeout(commandtest.Patience) || token.Error() != nil {
			t.Fatalf("boss: %v", token.Error())
		}
	}
	wait(client.Connect())
	<-subscribed
	t.Cleanup(func() { client.Disconnect(0) })
	return func(t *testing.T, doc string) { t.Helper(); wait(client.Publish("commands/north-7", 1, false, doc)) }, inbox, subscribed
}

func next(answers <-chan command.Answer) func(t *testing.T) command.Answer {
	return func(t *testing.T) command.Answer {
		t.Helper()
		select {
		case a := <-answers:
			return a
		case <-time.After(commandtest.Patience):
			t.Fatal("no answer")
			return command.Answer{}
		}
	}
}

func peerOf(t *testing.T, s *servertest.Server, protocol Protocol) commandtest.Peer {
	cfg := Config{Address: s.Addr("mqtt"), Protocol: protocol, ClientID: "north-7-commands", Username: "gw", Password: uplinktest.Secret(t, "s3cret"),
		Topic: "commands/north-7", Answers: "answers/north-7"}
	bad := cfg
	bad.Password = uplinktest.Secret(t, "wrong")
	put, answers, ready := boss(t, s.Addr("mqtt"))
	log := slog.New(slog.DiscardHandler)
	return commandtest.Peer{
		Courier: New(cfg, log), Wrong: New(bad, log), Put: put, Answer: next(answers),
		Kill: func(t *testing.T) { s.Kill() }, Restart: func(t *testing.T) { s.Start(); <-ready },
	}
}

func TestOverMosquitto(t *testing.T) {
	for _, protocol := range []Protocol{V5, V311} {
		t.Run(string(protocol), func(t *testing.T) {
			commandtest.Run(t, func(t *testing.T) commandtest.Peer {
				return peerOf(t, servertest.Mosquitto(t, servertest.User("gw", "s3cret")), protocol)
			})
		})
	}
}
