package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/tidegate/tidegate/cloud"
	"github.com/tidegate/tidegate/daemon"

	"golang.org/x/sys/unix"
)

// seat is where a system under test sits.
type seat struct {
	listen string // host:port
	dir    string // its folder
	config string // of a gateway
	faces  string // host:port that clients are told to use, of Kafka
}

// serve is the other half of this program: one system under test, until stdin
// ends.
func serve(args []string, stdin io.Reader) error {
	kinds := map[string]func(context.Context, seat) error{
		"plain":    servePlain,
		"naive":    serveNaive,
		"blocking": serveBlocking,
		"tidegate": serveGateway,
		"run":      serveProgram,
		"cloud":    serveCloud,
		"kafka":    serveKafka,
		"poster":   servePoster,
		"sinkhole": serveSinkhole,
	}
	if len(args) == 0 || kinds[args[0]] == nil {
		return fmt.Errorf("%q is no kind of server", args)
	}
	var s seat
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.StringVar(&s.listen, "listen", "127.0.0.1:0", "address to listen on")
	flags.StringVar(&s.dir, "dir", ".", "folder to write to")
	flags.StringVar(&s.config, "config", "", "configuration of the gateway")
	flags.StringVar(&s.faces, "faces", "", "address that clients are told")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		io.Copy(io.Discard, stdin)
		cancel()
	}()
	return kinds[args[0]](ctx, s)
}

// serveGateway is what "tidegate run" does.
func serveGateway(ctx context.Context, s seat) error {
	cfg, err := daemon.Load(s.config)
	if err != nil {
		return err
	}
	d, err := daemon.New(cfg, logger())
	if err != nil {
		return err
	}
	return d.Run(ctx)
}

// serveProgram is "tidegate run", with all that the program does around the gateway.
func serveProgram(ctx context.Context, s seat) error {
	stop := context.AfterFunc(ctx, func() { unix.Kill(os.Getpid(), unix.SIGTERM) })
	defer stop()
	if code := daemon.Main([]string{"run", "-config", s.config}, os.Stdout, os.Stderr); code != 0 {
		return fmt.Errorf("tidegate run: exit code %d", code)
	}
	return nil
}

// serveCloud is what "tidegate-cloud run" does.
func serveCloud(ctx context.Context, s seat) error {
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return err
	}
	return receive(ctx, listener, s.dir, nil)
}

// receive serves a cloud with a store in dir until ctx ends.
func receive(ctx context.Context, l net.Listener, dir string, received func(cloud.Delivery)) error {
	store, err := cloud.Open(cloud.StoreConfig{Dir: dir})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	receiver := cloud.NewReceiver(cloud.ReceiverConfig{Received: received}, store, logger())
	server := &http.Server{Handler: cloud.Routes(receiver, store)}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, store.Close())
	}
	return store.Close()
}

// logger says only what has gone wrong.
func logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}
