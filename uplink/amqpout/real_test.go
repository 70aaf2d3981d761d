package amqpout

import (
	"crypto/tls"
	"strings"
	"sync/atomic"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

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
			c.Password = uplinktest.Secret(t, "guest")
			c.RoutingKey, c.Declare = template(t, queue), DeclareQueue
			if change != nil {
				change(c)
			}
		})
	}
	uplinktest.RunReal(t, uplinktest.Real{
		Server:   func(t *testing.T) *servertest.Server { return rabbit.Get(t) },
		Protocol: "amqp",
		New:      func(t *testing.T, address string) uplink.Sink { return sink(t, address, nil) },
		Read:     func(t *testing.T, address string) []uplinktest.Received { return drain(t, address, queue) },
		BadPassword: func(t *testing.T, address string) uplink.Sink {
			return sink(t, address, func(c *Config) { c.Password = uplinktest.Secret(t, uplinktest.WrongPassword) })
		},
		TLS: func(t *testing.T, address string, cfg *tls.Config) uplink.Sink {
			return sink(t, address, func(c *Config) { c.TLS = cfg })
		},
		Pieces:   true,
		Fills:    true,
		TooLarge: 300 << 10,
	})
}

// channel opens a channel to the server, for what a test does itself.
func channel(t testing.TB, address string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial("amqp://guest:guest@" + address)
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

// drain takes all messages out of a queue; none if it does not exist.
func drain(t *testing.T, address, queue string) (all []uplinktest.Received) {
	t.Helper()
	ch := channel(t, address)
	for {
		d, ok, err := ch.Get(queue, true)
		if err != nil && strings.Contains(err.Error(), "NOT_FOUND") {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return all
		}
		all = append(all, uplinktest.Received{Key: d.MessageId, Body: d.Body})
	}
}

// What a real server says about mistakes, and that the words of judge's table are
// its own.
func TestRealMistakesNameTheirCause(t *testing.T) {
	s := rabbit.Get(t)
	address := s.Addr("amqp")
	ch := channel(t, address)
	for name, args := range map[string]amqp.Table{"there": nil, "full": {"x-max-length": 1, "x-overflow": "reject-publish"}} {
		if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ch.QueueDeclare("forgetful", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	ch.Publish("", "full", false, false, amqp.Publishing{Body: []byte("the one that fits")})
	s.Ctl("add_user", "weak", "weak")
	s.Ctl("set_permissions", "weak", "^$", "^$", "^$")
	for name, c := range map[string]struct {
		change       func(*Config)
		class, words string // of Send
		probe        string // in what Probe says, or in its error
	}{
		"Good":         {nil, "accepted", "", "RabbitMQ 3."},
		"NoQueue":      {func(c *Config) { c.RoutingKey = template(t, "nowhere") }, "1m0s", "no queue is bound", "no queue 'nowhere'"},
		"NoExchange":   {func(c *Config) { c.Exchange = template(t, "nowhere") }, "1m0s", `declare = "exchange"`, "no exchange 'nowhere'"},
		"NotBound":     {func(c *Config) { c.Exchange = template(t, "amq.topic") }, "1m0s", "no queue is bound", "exchange amq.topic"},
		"NoVhost":      {func(c *Config) { c.Vhost = "nowhere" }, "1m0s", "check vhost", "check vhost"},
		"NoPermission": {func(c *Config) { c.Username, c.Password = "weak", uplinktest.Secret(t, "weak") }, "1m0s", "set_permissions", "queue there"},
		"OtherType": {func(c *Config) {
			c.Exchange, c.ExchangeType, c.Declare = template(t, "amq.topic"), "fanout", DeclareExchange
		}, "1m0s", `declare = "none"`, `declare = "none"`},
		"QueueIsFull":   {func(c *Config) { c.RoutingKey = template(t, "full") }, "transient", "full", "queue full"},
		"NotDurable":    {func(c *Config) { c.RoutingKey = template(t, "forgetful") }, "accepted", "", "NOT durable"},
		"NoCertificate": {func(c *Config) { c.External, c.TLS = true, &tls.Config{} }, "transient", "does not speak TLS", "does not speak TLS"},
		"Declared": {func(c *Config) {
			c.Exchange, c.RoutingKey, c.Declare, c.Queue = template(t, "fresh"), template(t, "{gateway}.{lane}"), DeclareQueue, "fresh-queue"
		}, "accepted", "", "exchange fresh"},
	} {
		t.Run(name, func(t *testing.T) {
			sink := newSink(t, address, func(cfg *Config) {
				cfg.Password, cfg.RoutingKey = uplinktest.Secret(t, "guest"), template(t, "there")
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
	if got := drain(t, address, "fresh-queue"); len(got) != 3 {
		t.Errorf("the queue that was declared has %d messages, want 3", len(got))
	}
}

func TestReceiverCountsEachReadingOnce(t *testing.T) {
	const queue = "received"
	s := rabbit.Get(t)
	address := s.Addr("amqp")
	uplinktest.RunRecipe(t, uplinktest.Recipe{
		Script: "amqp.py", Module: "pika", Package: "python3-pika",
		Server: s, Args: []string{"amqp://guest:guest@" + address + "/%2F", queue},
		New: func(t *testing.T) uplink.Sink {
			return newSink(t, address, func(c *Config) {
				c.Password, c.RoutingKey, c.Declare = uplinktest.Secret(t, "guest"), template(t, queue), DeclareQueue
			})
		},
	})
}

// A server that is short of memory says so, and is left alone until it is not.
func TestRealAlarmForMemory(t *testing.T) {
	s := rabbit.Get(t)
	var wire atomic.Int64
	sink := newSink(t, s.Addr("amqp"), func(c *Config) {
		c.Password, c.RoutingKey, c.Declare, c.Dial = uplinktest.Secret(t, "guest"), template(t, "memory"), DeclareQueue, counting(&wire)
	})
	if err := sink.Send(within(t, patience), message(1, 1)); err != nil {
		t.Fatal(err)
	}
	s.Ctl("set_vm_memory_high_watermark", "0.000001")
	t.Cleanup(func() { s.Ctl("set_vm_memory_high_watermark", "0.4") })
	if err := sink.Send(within(t, patience), message(2, 1)); classOf(err) != alarmDelay.String() || !strings.Contains(err.Error(), "low on memory") {
		t.Errorf("during the alarm: %v", err)
	}
	before := wire.Load()
	for range 100 {
		if err := sink.Send(within(t, patience), message(3, 1)); classOf(err) != alarmDelay.String() {
			t.Errorf("during the alarm: %v", err)
		}
	}
	if n := wire.Load() - before; n > 100 {
		t.Errorf("%d bytes have travelled during the alarm", n)
	}
	s.Ctl("set_vm_memory_high_watermark", "0.4")
	for sink.Send(within(t, patience), message(4, 1)) != nil { // until the word is through
		if t.Context().Err() != nil {
			t.Fatal("the alarm does not end")
		}
	}
}

// A gateway logs in with its certificate alone.
func TestRealLoginByCertificate(t *testing.T) {
	ours := servertest.NewAuthority(t)
	s := servertest.RabbitMQ(t, servertest.TLS(ours), servertest.Config(
		"ssl_options.verify = verify_peer", "ssl_options.fail_if_no_peer_cert = false",
		"auth_mechanisms.1 = EXTERNAL", "auth_mechanisms.2 = PLAIN", "ssl_cert_login_from = common_name"))
	s.Ctl("eval", `[code:add_path(D) || D <- filelib:wildcard(code:lib_dir(rabbit) ++ "/../rabbitmq_auth_mechanism_ssl*/ebin")], {ok, _} = application:ensure_all_started(rabbitmq_auth_mechanism_ssl), ok = rabbit_registry:register(auth_mechanism, <<"EXTERNAL">>, rabbit_auth_mechanism_ssl).`)
	s.Ctl("add_user", "north-7", "not-used")
	s.Ctl("set_permissions", "north-7", ".*", ".*", ".*")
	for name, class := range map[string]string{"north-7": "accepted", "stranger": "1m0s"} {
		own := ours.Issue(servertest.Certificate{Name: name})
		sink := newSink(t, s.Addr("amqps"), func(c *Config) {
			c.Username, c.External, c.RoutingKey, c.Declare = "", true, template(t, "certified"), DeclareQueue
			c.TLS = &tls.Config{RootCAs: ours.Pool(), Certificates: []tls.Certificate{own.TLS}}
		})
		err := sink.Send(within(t, patience), message(1, 1))
		if got := classOf(err); got != class || err != nil && !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %s, want %s: %v", name, got, class, err)
		}
	}
}
