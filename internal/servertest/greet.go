package servertest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// greet talks to a server until its answer shows that it is up.
type greet func(conn net.Conn) error

// try dials and greets once.
func try(ctx context.Context, address string, g greet) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	return g(conn)
}

// say returns a greeting of one message, and of the beginnings that its answer
// may have: the first is the longest.
func say(message string, want ...string) greet {
	return func(conn net.Conn) error {
		if _, err := io.WriteString(conn, message); err != nil {
			return err
		}
		got := make([]byte, len(want[0]))
		n, err := io.ReadFull(conn, got)
		for _, w := range want {
			if bytes.HasPrefix(got[:n], []byte(w)) {
				return nil
			}
		}
		if err != nil {
			return err
		}
		return fmt.Errorf("the answer begins with %q", got)
	}
}

// greetAMQP is answered by Connection.Start on channel 0.
func greetAMQP() greet { return say("AMQP\x00\x00\x09\x01", "\x01\x00\x00") }

// greetMQTT is answered by a CONNACK, whatever is in it.
func greetMQTT() greet { return say("\x10\x11\x00\x04MQTT\x04\x02\x00\x0a\x00\x05ready", "\x20\x02") }

// greetSTOMP may be refused for want of a password, in time.
func greetSTOMP() greet {
	return say("CONNECT\naccept-version:1.2\nhost:/\n\n\x00", "CONNECTED", "ERROR")
}

// greetRedis is answered with an error, too, when a password is wanted; but not
// while the server loads its data.
func greetRedis() greet { return say("PING\r\n", "+PONG", "-NOAU") }

// greetNATS waits for the server's first line, which says whether JetStream is
// there.
func greetNATS(jetstream bool) greet {
	return func(conn net.Conn) error {
		line, err := bufio.NewReader(io.LimitReader(conn, 64<<10)).ReadBytes('\n')
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(line, []byte("INFO ")) || jetstream && !bytes.Contains(line, []byte(`"jetstream":true`)) {
			return fmt.Errorf("the first line is %q", line)
		}
		return nil
	}
}

// greetHTTP wants an answer to GET path that is no failure of the server.
func greetHTTP(path string) greet {
	return func(conn net.Conn) error {
		_, err := getHTTP(conn, path, "", "")
		return err
	}
}

// getHTTP returns what is answered to GET path, unless it is a failure of the server.
func getHTTP(conn net.Conn, path, user, password string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return nil, err
	}
	request.Close = true
	if user != "" {
		request.SetBasicAuth(user, password)
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 500 {
		return nil, fmt.Errorf("GET %s: %s", path, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, 1<<20))
}

// overTLS greets inside TLS, whatever the certificate: it may be an expired one,
// on purpose.
func overTLS(g greet) greet {
	return func(conn net.Conn) error {
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if err := secure.Handshake(); err != nil {
			return err
		}
		return g(secure)
	}
}
