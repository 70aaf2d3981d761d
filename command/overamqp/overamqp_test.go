package overamqp

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/command/commandtest"
	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

var rabbit = servertest.Share(servertest.RabbitMQ, servertest.User("gw", "s3cret"), servertest.Only("amqp"))

func TestMain(m *testing.M) { servertest.Main(m, rabbit) }

// boss gives commands and reads answers, over a connection that is made anew when
// it is broken.
type boss struct {
	address, commands, answers string
	conn                       *amqp.Connection
	ch                         *amqp.Channel
}

func (b *boss) do(t *testing.T, what string, work func(ch *amqp.Channel) error) {
	t.Helper()
	commandtest.Eventually(t, what, func() bool {
		if b.ch == nil || b.ch.IsClosed() {
			conn, err := amqp.Dial("amqp://gw:s3cret@" + b.address + "/")
			if err != nil {
				return false
			}
			if b.conn != nil {
				b.conn.Close()
			}
			b.conn = conn
			if b.ch, err = conn.Channel(); err != nil {
				return false
			}
			if err := b.ch.Confirm(false); err != nil {
				return false
			}
		}
		return work(b.ch) == nil
	})
}

func (b *boss) put(t *testing.T, doc string) {
	t.Helper()
	b.do(t, "it is taken", func(ch *amqp.Channel) error {
		c, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "", b.commands, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(doc)})
		if err == nil && !c.Wait() {
			err = amqp.ErrClosed
		}
		return err
	})
}

func (b *boss) next(t *testing.T) (a command.Answer) {
	t.Helper()
	b.do(t, "an answer", func(ch *amqp.Channel) error {
		d, ok, err := ch.Get(b.answers, true)
		if err != nil || !ok {
			return fmt.Errorf("none: %w", err)
		}
		return json.Unmarshal(d.Body, &a)
	})
	return a
}

var count atomic.Int64

func peer(t *testing.T) (*servertest.Server, *boss, Config) {
	s := rabbit.Get(t)
	n := count.Add(1)
	b := &boss{address: s.Addr("amqp"), commands: fmt.Sprint("commands-", n), answers: fmt.Sprint("answers-", n)}
	b.do(t, "queues", func(ch *amqp.Channel) error {
		for _, name := range []string{b.commands, b.answers} {
			if _, err := ch.QueueDeclare(name, true, false, false, false, nil); err != nil {
				return err
			}
		}
		return nil
	})
	t.Cleanup(func() { b.conn.Close() })
	return s, b, Config{Address: s.Addr("amqp"), Username: "gw", Password: uplinktest.Secret(t, "s3cret"), Queue: b.commands, RoutingKey: b.answers, Name: "suite", Heartbeat: time.Minute}
}

func TestOverRabbitMQ(t *testing.T) {
	commandtest.Run(t, func(t *testing.T) commandtest.Peer {
		s, b, cfg := peer(t)
		bad := cfg
		bad.Password = uplinktest.Secret(t, "wrong")
		log := slog.New(slog.DiscardHandler)
		return commandtest.Peer{
			Courier: New(cfg, log), Wrong: New(bad, log), Put: b.put, Answer: b.next,
			Kill: func(t *testing.T) { s.Kill() }, Restart: func(t *testing.T) { s.Start() },
		}
	})
}

// Whoever asks with a queue of its own is answered there, and nobody else's queue is
// written to.
func TestRepliesGoToQueuesOfTheSendersOwn(t *testing.T) {
	_, b, cfg := peer(t)
	w := commandtest.NewWorld(t)
	stop := w.Start(New(cfg, slog.New(slog.DiscardHandler)))
	defer stop()
	replies, err := b.ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(id, replyTo string) {
		t.Helper()
		if err := b.ch.PublishWithContext(t.Context(), "", b.commands, false, false, amqp.Publishing{ReplyTo: replyTo, CorrelationId: "c-" + id, Body: []byte(commandtest.Doc(id))}); err != nil {
			t.Fatal(err)
		}
	}
	ask("1", "amq.rabbitmq.reply-to")
	d := <-replies
	if d.CorrelationId != "c-1" || d.MessageId != "1" {
		t.Errorf("replied %+v", d)
	}
	w.Desk.Delivered("1", "pump")
	if d := <-replies; d.CorrelationId != "c-1" {
		t.Errorf("replied late %+v", d)
	}
	ask("2", b.commands) // a queue of others
	if a := b.next(t); a.ID != "2" {
		t.Errorf("answered %+v", a)
	}
}

func TestAQueueThatIsNotThere(t *testing.T) {
	_, _, cfg := peer(t)
	cfg.Queue = "nowhere"
	w := commandtest.NewWorld(t)
	c := New(cfg, slog.New(slog.DiscardHandler))
	for _, err := range []error{c.Run(t.Context(), w.Clerk), func() error { _, err := c.Probe(t.Context()); return err }()} {
		if err == nil || !strings.Contains(err.Error(), "declare = true") {
			t.Errorf("got %v", err)
		}
	}
	cfg.Declare = true
	w.Start(New(cfg, slog.New(slog.DiscardHandler)))
}
