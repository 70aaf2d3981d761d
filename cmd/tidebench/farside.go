package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kfake"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
	"github.com/tidegate/tidegate/internal/servertest"
)

// real are the servers of others that were started, by name.
type real map[string]*servertest.Server

// withServers starts the servers that outlets need, calls f with them and ends
// them. missing says which are not installed.
func (b *bench) withServers(ctx context.Context, f func(servers real, missing []string) error) error {
	wanted := map[string]func(then func(*servertest.Server) error) error{
		"mosquitto": func(then func(*servertest.Server) error) error {
			return servertest.Use(b.dir, servertest.Mosquitto, nil, then)
		},
		"RabbitMQ": func(then func(*servertest.Server) error) error {
			return servertest.Use(b.dir, servertest.RabbitMQ, []servertest.Option{servertest.Only("amqp")}, then)
		},
		"ActiveMQ": func(then func(*servertest.Server) error) error {
			return servertest.Use(b.dir, servertest.ActiveMQ, nil, then)
		},
		"Redis": func(then func(*servertest.Server) error) error {
			return servertest.Use(b.dir, servertest.Redis, nil, then)
		},
		"NATS": func(then func(*servertest.Server) error) error {
			return servertest.Use(b.dir, servertest.NATS, nil, then)
		},
	}
	running, missing := real{}, []string(nil)
	var next func(names []string) error
	next = func(names []string) error {
		if len(names) == 0 {
			return f(running, missing)
		}
		name := names[0]
		err := wanted[name](func(s *servertest.Server) error {
			running[name] = s
			return next(names[1:])
		})
		if running[name] == nil && errors.Is(err, servertest.ErrMissing) {
			missing = append(missing, err.Error())
			return next(names[1:])
		}
		return err
	}
	return next([]string{"mosquitto", "RabbitMQ", "ActiveMQ", "Redis", "NATS"})
}

// reach calls f with the other end of an outlet, which has seen nothing yet of what
// it will be sent. Receivers that drop repeats would be too quick the second time.
func (b *bench) reach(ctx context.Context, o outlet, servers real, f func(far) error) (err error) {
	dir, remove, err := b.folder("far")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	switch o.server {
	case "":
		return f(far{dir: dir})
	case theKafka:
		addr, err := freeAddress()
		if err != nil {
			return err
		}
		// Brokers tell their clients where to go: over the line.
		return b.over(addr, dir, func(at far) error {
			return b.beside(ctx, theKafka, addr, dir, func() error { return f(at) }, "-faces", at.addr())
		})
	case theCloud, theSinkhole:
		addr, err := freeAddress()
		if err != nil {
			return err
		}
		return b.beside(ctx, o.server, addr, dir, func() error { return b.over(addr, dir, f) })
	}
	s := servers[o.server]
	if err := prepare(ctx, o.protocol, s.Addr(o.protocol), dir); err != nil {
		return fmt.Errorf("prepare %s: %w", o.server, err)
	}
	return b.over(s.Addr(o.protocol), dir, f)
}

// beside runs f while a child of ours listens.
func (b *bench) beside(ctx context.Context, kind, addr, dir string, f func() error, args ...string) error {
	c, err := b.start(ctx, kind, addr, dir, args...)
	if err != nil {
		return err
	}
	return errors.Join(f(), c.stop())
}

// over calls f with a line to an address.
func (b *bench) over(addr, dir string, f func(far) error) error {
	link, err := firmwaresim.OpenLink("127.0.0.1:0", addr)
	if err != nil {
		return err
	}
	stop := background(link.Run)
	err = link.Ethernet()
	if err == nil {
		err = f(far{link, dir})
	}
	return errors.Join(err, stop())
}

const queueName = "tidegate"

// prepare makes what a server must have before it takes anything.
func prepare(ctx context.Context, protocol, addr, dir string) error {
	switch protocol {
	case "nats":
		return prepareNATS(addr)
	case "amqp", "amqp1.0":
		if err := os.WriteFile(filepath.Join(dir, guestFile), []byte("guest"), 0o600); err != nil {
			return err
		}
		return prepareRabbit(addr)
	}
	return ctx.Err()
}

// prepareNATS makes the stream anew.
func prepareNATS(addr string) error {
	conn, err := nats.Connect("nats://" + addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := conn.JetStream(nats.MaxWait(startPatience))
	if err != nil {
		return err
	}
	if err := js.DeleteStream("TIDE"); err != nil && !errors.Is(err, nats.ErrStreamNotFound) {
		return err
	}
	_, err = js.AddStream(&nats.StreamConfig{Name: "TIDE", Subjects: []string{"tidegate.>"}, Storage: nats.FileStorage})
	return err
}

// prepareRabbit makes the queue anew.
func prepareRabbit(addr string) (err error) {
	conn, err := amqp.DialConfig("amqp://guest:guest@"+addr+"/", amqp.Config{Dial: amqp.DefaultDial(startPatience)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.CloseDeadline(time.Now().Add(startPatience))) }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if _, err := ch.QueueDelete(queueName, false, false, false); err != nil {
		return err
	}
	_, err = ch.QueueDeclare(queueName, true, false, false, false, nil)
	return err
}

// facade is a listener that says it is elsewhere.
type facade struct {
	net.Listener
	face net.Addr
}

// Addr is what a broker tells its clients.
func (f facade) Addr() net.Addr { return f.face }

// serveKafka is a broker that syncs what it acknowledges.
func serveKafka(ctx context.Context, s seat) error {
	face, err := net.ResolveTCPAddr("tcp", s.faces)
	if err != nil {
		return err
	}
	listen := func(string, string) (net.Listener, error) {
		l, err := net.Listen("tcp", s.listen)
		return facade{l, face}, err
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(listen), kfake.SeedTopics(1, queueName),
		kfake.DataDir(filepath.Join(s.dir, "kafka")), kfake.SyncWrites())
	if err != nil {
		return err
	}
	<-ctx.Done()
	cluster.Close()
	return nil
}

// present returns the outlets whose servers are there.
func present(servers real) []outlet {
	return slices.DeleteFunc(outlets(), func(o outlet) bool {
		ours := o.server == "" || o.server == theCloud || o.server == theKafka
		return !ours && servers[o.server] == nil
	})
}
