package amqp1out

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// The server takes messages of up to 256 KiB.
var rabbit = servertest.Share(servertest.RabbitMQ, servertest.MaxMessage(256<<10))

func TestRealRabbitMQ(t *testing.T) {
	const queue = "real"
	sink := func(t *testing.T, address string, change func(*Config)) *Sink {
		return newSink(t, address, func(c *Config) {
			c.Username, c.Password, c.Target = "guest", uplinktest.Secret(t, "guest"), template(t, "/amq/queue/"+queue)
			if change != nil {
				change(c)
			}
		})
	}
	uplinktest.RunReal(t, uplinktest.Real{
		Server: func(t *testing.T) *servertest.Server {
			s := rabbit.Get(t)
			declare(t, channel(t, s.Addr("amqp")), queue, true)
			return s
		},
		Protocol: "amqp1.0",
		New:      func(t *testing.T, address string) uplink.Sink { return sink(t, address, nil) },
		Read:     func(t *testing.T, address string) []uplinktest.Received { return drain(t, address, queue) },
		BadPassword: func(t *testing.T, address string) uplink.Sink {
			return sink(t, address, func(c *Config) { c.Password = uplinktest.Secret(t, uplinktest.WrongPassword) })
		},
		TLS: func(t *testing.T, address string, cfg *tls.Config) uplink.Sink {
			return sink(t, address, func(c *Config) { c.TLS = cfg })
		},
		Pieces:   true,
		TooLarge: 300 << 10,
		// It cannot be made full: the plugin for AMQP 1.0 goes on during an alarm.
	})
}

// channel opens a channel to the server, in the other AMQP, for what a test does
// itself.
func channel(t testing.TB, address string) *amqp091.Channel {
	t.Helper()
	conn, err := amqp091.Dial("amqp://guest:guest@" + address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func declare(t testing.TB, ch *amqp091.Channel, queue string, durable bool) {
	t.Helper()
	if _, err := ch.QueueDeclare(queue, durable, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
}

// drain takes all messages out of a queue.
func drain(t *testing.T, address, queue string) (all []uplinktest.Received) {
	t.Helper()
	ch := channel(t, address)
	for {
		d, ok, err := ch.Get(queue, true)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return all
		}
		all = append(all, uplinktest.Received{Key: d.MessageId, Body: d.Body})
	}
}

// What a real server says about mistakes.
func TestRealMistakesNameTheirCause(t *testing.T) {
	s := rabbit.Get(t)
	address := s.Addr("amqp1.0")
	ch := channel(t, address)
	declare(t, ch, "there", true)
	if err := ch.QueueBind("there", "north-7.#", "amq.topic", false, nil); err != nil {
		t.Fatal(err)
	}
	s.Ctl("add_user", "weak", "weak")
	s.Ctl("set_permissions", "weak", "^$", "^$", "^$")
	for name, c := range map[string]struct {
		change       func(*Config)
		class, words string // of Send
		probe        string // in what Probe says, or in its error
	}{
		"Good":         {nil, "accepted", "", "RabbitMQ 3."},
		"Bare":         {func(c *Config) { c.Target = template(t, "there") }, "accepted", "", "address there"},
		"NoQueue":      {func(c *Config) { c.Target = template(t, "/amq/queue/nowhere") }, "1m0s", "create the queue", "create the queue"},
		"NoExchange":   {func(c *Config) { c.Target, c.TrustRouting = template(t, "/exchange/nowhere"), true }, "1m0s", "create it", "create it"},
		"NotTrusted":   {func(c *Config) { c.Target = template(t, "/exchange/amq.topic") }, "1m0s", "trust_routing", "trust_routing"},
		"NoVhost":      {func(c *Config) { c.Hostname = "vhost:nowhere" }, "1m0s", "vhost", "vhost"},
		"NoPermission": {func(c *Config) { c.Username, c.Password = "weak", uplinktest.Secret(t, "weak") }, "1m0s", "what the user may do", "address /amq/queue/there"},
		"NotTLS":       {func(c *Config) { c.TLS = &tls.Config{} }, "transient", "does not speak TLS", "does not speak TLS"},
		"Trusted": {func(c *Config) {
			c.Target, c.Subject, c.TrustRouting = template(t, "/exchange/amq.topic"), template(t, "{gateway}.{device}"), true
		}, "accepted", "", "address /exchange/amq.topic"},
	} {
		t.Run(name, func(t *testing.T) {
			sink := newSink(t, address, func(cfg *Config) {
				cfg.Username, cfg.Password, cfg.Target = "guest", uplinktest.Secret(t, "guest"), template(t, "/amq/queue/there")
				if c.change != nil {
					c.change(cfg)
				}
			})
			said, err := sink.Probe(within(t, patience))
			if err != nil {
				said = err.Error()
			}
			if !strings.Contains(said, c.probe) {
				t.Errorf("Probe says %q, want %q in it", said, c.probe)
			}
			err = sink.Send(within(t, patience), message(1, 3))
			if got := classOf(err); got != c.class || err != nil && !strings.Contains(err.Error(), c.words) {
				t.Errorf("%s, want %s with %q: %v", got, c.class, c.words, err)
			}
		})
	}
	if got := drain(t, address, "there"); len(got) != 3*3 {
		t.Errorf("%d messages are there, want the three times three that were accepted", len(got))
	}
}

// What RabbitMQ takes over AMQP 1.0 can be read over AMQP 0-9-1, whatever the device
// is called: with a message-id of more than 255 bytes it could not, and the reader was
// cut off at that message whenever it came back.
func TestRealReadersGetWhatHasLongNames(t *testing.T) {
	s := rabbit.Get(t)
	address := s.Addr("amqp1.0")
	declare(t, channel(t, address), "long", true)
	m := message(1, 2)
	m.Parts[0].Device, m.Parts[0].Last = strings.Repeat("d", 300), 2
	sink := newSink(t, address, func(c *Config) {
		c.Username, c.Password, c.Target = "guest", uplinktest.Secret(t, "guest"), template(t, "/amq/queue/long")
	})
	if err := sink.Send(within(t, patience), m); err != nil {
		t.Fatal(err)
	}
	d, ok, err := channel(t, address).Get("long", true)
	if key := m.PartKey(m.Parts[0]); err != nil || !ok || !strings.Contains(fmt.Sprintf("%s", d.Headers), key) {
		t.Errorf("%v, headers %q, want the key %q in them", err, d.Headers, key)
	}
}

func TestReceiverCountsEachReadingOnce(t *testing.T) {
	const queue = "received"
	s := rabbit.Get(t)
	declare(t, channel(t, s.Addr("amqp")), queue, true)
	address := s.Addr("amqp1.0")
	uplinktest.RunRecipe(t, uplinktest.Recipe{
		Script: "amqp1.py", Module: "proton", Package: "python3-qpid-proton",
		Server: s, Args: []string{"guest:guest@" + address, "/amq/queue/" + queue},
		New: func(t *testing.T) uplink.Sink {
			return newSink(t, address, func(c *Config) {
				c.Username, c.Password, c.Target = "guest", uplinktest.Secret(t, "guest"), template(t, "/amq/queue/"+queue)
			})
		},
	})
}
