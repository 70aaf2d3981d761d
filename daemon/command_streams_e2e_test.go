package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomodule/redigo/redis"
	"github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/internal/servertest"
)

// stormOfCommands gives commands while the gateway is killed again and again, and
// wants each to have reached the device once.
func (s *site) stormOfCommands(t *testing.T, table string, put func(document string) error) {
	t.Helper()
	s.more = "[command]\nallow = [\"dev/+/set\"]\nmax_rate = 6000\n" + table
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	dice := seeded(t)
	gateway := s.startGateway()
	device := s.newSleeper()
	device.subscribe()
	s.eventuallyStatus("commands can come", commandsUp)
	const commands = 30
	for i := range commands {
		if err := put(fmt.Sprintf(`{"id":"c-%d","topic":"dev/pump/set","payload":"c-%d","ttl":"10m"}`, i, i)); err != nil {
			t.Fatal(err)
		}
		if err := put(`{"id":"bad","topic":"dev/pump/get","payload":"bad"}`); err != nil {
			t.Fatal(err)
		}
		if dice.IntN(6) == 0 {
			gateway.kill()
			gateway = s.startGateway()
		}
	}
	for i := range commands {
		id := fmt.Sprint("c-", i)
		s.eventually("the device has "+id, func() bool { return device.got(id) > 0 })
	}
	t.Logf("%d deliveries came again, and said so", device.checkOnce())
	s.eventuallyStatus("commands can come", commandsUp) // and what was killed in the middle is decided
	s.checkAudit(commands)
}

func TestCommandsFromRedisComeOnce(t *testing.T) {
	server := servertest.Redis(t)
	conn, err := redis.Dial("tcp", server.Addr("redis"))
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	s.Cleanup(func() { conn.Close() })
	s.stormOfCommands(t, fmt.Sprintf("[[command.redis]]\nname = \"orders\"\nurl = \"redis://%s\"\n", server.Addr("redis")), func(document string) error {
		_, err := conn.Do("XADD", "tidegate:north-7:commands", "*", "command", document)
		return err
	})
	s.eventually("all are answered", func() bool { // the last ones behind what the device has seen
		n, err := redis.Int(conn.Do("XLEN", "tidegate:north-7:answers"))
		if err != nil {
			t.Fatal(err)
		}
		return n >= 60
	})
}

func TestCommandsFromNATSComeOnce(t *testing.T) {
	server := servertest.NATS(t)
	s := newSite(t)
	nc, err := nats.Connect("nats://" + server.Addr("nats"))
	if err != nil {
		t.Fatal(err)
	}
	s.Cleanup(nc.Close)
	js, err := nc.JetStream(nats.MaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "COMMANDS", Subjects: []string{"commands.>"}}); err != nil {
		t.Fatal(err)
	}
	s.stormOfCommands(t, fmt.Sprintf("[[command.nats]]\nname = \"orders\"\nurls = [\"nats://%s\"]\nack_wait = \"2s\"\n", server.Addr("nats")), func(document string) error {
		_, err := js.Publish("commands.north-7", []byte(document))
		return err
	})
}

func TestCommandsFromRabbitMQComeOnce(t *testing.T) {
	server := servertest.RabbitMQ(t, servertest.User("gw", "s3cret"), servertest.Only("amqp"))
	s := newSite(t)
	conn, err := amqp.Dial("amqp://gw:s3cret@" + server.Addr("amqp") + "/")
	if err != nil {
		t.Fatal(err)
	}
	s.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("tidegate.north-7.answers", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	password := s.secret("s3cret")
	s.stormOfCommands(t, fmt.Sprintf("[[command.amqp]]\nname = \"orders\"\nurl = \"amqp://%s\"\nusername = \"gw\"\npassword_file = %q\n", server.Addr("amqp"), password), func(document string) error {
		return ch.PublishWithContext(context.Background(), "", "tidegate.north-7.commands", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(document)})
	})
}

// secret writes a password into a file of the site.
func (s *site) secret(text string) string {
	s.Helper()
	file := filepath.Join(s.dir, "password")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
	return file
}
