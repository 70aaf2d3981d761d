package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/tidegate/tidegate/cloud"
	"github.com/tidegate/tidegate/internal/sdnotify"
)

// stopGrace is how long requests may take to finish when the program stops.
const stopGrace = 5 * time.Second

type runFlags struct {
	listen, data, tokens, operator, cert, key string
	print                                     bool
}

// run receives until ctx ends.
func run(ctx context.Context, args []string, s streams) error {
	var f runFlags
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8440", "address to listen on")
	flags.StringVar(&f.data, "data", "", "folder of the store")
	flags.StringVar(&f.tokens, "tokens", "", "file of gateways and their tokens")
	flags.StringVar(&f.operator, "operator", "", "file of the operator's token, for commands from other machines")
	flags.StringVar(&f.cert, "cert", "", "file of the TLS certificate")
	flags.StringVar(&f.key, "key", "", "file of the TLS key")
	flags.BoolVar(&f.print, "print", false, "print a line for each delivery")
	if err := parse(flags, args, 0, 0); err != nil {
		return err
	}
	if f.data == "" {
		return usagef("run: -data is missing")
	}
	log := slog.New(slog.NewTextHandler(s.err, nil))
	tokens, err := readTokens(f.tokens)
	if err != nil {
		return err
	}
	operator, err := readOperator(f.operator)
	if err != nil {
		return err
	}
	listener, err := listen(f, len(tokens) > 0, log)
	if err != nil {
		return err
	}
	store, err := cloud.Open(cloud.StoreConfig{Dir: f.data})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	c := cloud.ReceiverConfig{Tokens: tokens, Operator: operator}
	if f.print {
		c.Received = func(d cloud.Delivery) { printDelivery(s.out, d) }
	}
	receiver := cloud.NewReceiver(c, store, log)
	systemd, err := sdnotify.FromEnvironment(os.Getenv)
	if err == nil {
		err = systemd.Ready("receives at " + listener.Addr().String())
	}
	if err != nil {
		log.Warn("systemd is not told that this runs", "err", err)
	}
	defer context.AfterFunc(ctx, func() { _ = systemd.Stopping() })()
	log.Info("receiving", "address", listener.Addr().String(), "data", f.data, "gateways", len(tokens))
	err = serve(ctx, listener, cloud.Routes(receiver, store), receiver.Close, log)
	return errors.Join(err, store.Close())
}

// listen opens the listener, with TLS where there is a certificate. Beyond this
// machine nobody is let in without a token.
func listen(f runFlags, guarded bool, log *slog.Logger) (net.Listener, error) {
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w — hint: is another tidegate-cloud running? -listen takes another address", err)
	}
	local := l.Addr().(*net.TCPAddr).IP.IsLoopback()
	if !local && !guarded {
		return nil, errors.Join(usagef("run: %s can be reached from other machines, and -tokens is missing", f.listen), l.Close())
	}
	if f.cert == "" && f.key == "" {
		if !local {
			log.Warn("tokens and readings travel in the clear — hint: -cert and -key, or a proxy that speaks TLS")
		}
		return l, nil
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("certificate: %w", err), l.Close())
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}), nil
}

// serve answers requests until ctx ends, and lets those under way finish. closeStreams
// ends what the server has lost sight of: the WebSockets.
func serve(ctx context.Context, l net.Listener, handler http.Handler, closeStreams func(), log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       5 * time.Minute, // a full body over a very slow link
		WriteTimeout:      6 * time.Minute, // counts from the header, so it contains the above
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		closeStreams()
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	log.Info("stopping")
	closeStreams()
	grace, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		// What is cut off here has not been acknowledged: it comes again.
		_ = server.Close()
	}
	<-served
	return nil
}

// readOperator reads a file with one token. Without a file there is none.
func readOperator(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("operator: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if len(token) < 16 || strings.ContainsAny(token, " \t\n") {
		return "", fmt.Errorf("operator: %s holds no token of 16 characters or more — hint: write \"openssl rand -hex 32\" into it", path)
	}
	return token, nil
}

func printDelivery(w io.Writer, d cloud.Delivery) {
	c := d.Chunk
	fmt.Fprintf(w, "%s %016x %s %d..%d readings=%d duplicates=%d bytes=%d\n",
		c.Gateway, c.Epoch(), c.Lane(), c.First(), c.Last(), d.Fresh, d.Duplicates, d.Bytes)
}

// readTokens reads lines of a gateway's name and its token; # begins a comment
// line. Without a file there are no tokens.
func readTokens(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	defer file.Close()
	tokens := map[string]string{}
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cut := strings.LastIndexAny(line, " \t")
		if cut < 0 {
			return nil, fmt.Errorf("tokens: %s line %d: want a gateway's name, a space and its token", path, n)
		}
		name, token := strings.TrimSpace(line[:cut]), line[cut+1:]
		if tokens[name] != "" {
			return nil, fmt.Errorf("tokens: %s line %d: gateway %q a second time", path, n, name)
		}
		tokens[name] = token
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("tokens: %s: %w", path, err)
	}
	if len(tokens) == 0 {
		return nil, fmt.Errorf("tokens: %s names no gateway", path)
	}
	return tokens, nil
}
