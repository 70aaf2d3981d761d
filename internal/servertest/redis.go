package servertest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Redis starts Redis, which writes every command to disk before it answers.
// MaxMessage is at least 1 MiB. Fill leaves it no memory: commands that add data
// are refused with OOM.
func Redis(t testing.TB, opts ...Option) *Server {
	t.Helper()
	return begin(t, kind{
		name: "Redis", pack: "redis-server", programs: []string{"redis-server"},
		plan: planRedis, fill: fillRedis,
	}, opts)
}

func planRedis(e *engine) (plan, error) {
	ports, err := e.ports("redis")
	if err != nil {
		return plan{}, err
	}
	lines := []string{"bind 127.0.0.1", "port " + ports[0], "dir " + e.dir, `save ""`, "daemonize no"}
	p := plan{ready: map[string]greet{"redis": greetRedis()}}
	if !e.options.volatile {
		lines = append(lines, "appendonly yes", "appendfsync always")
	}
	if o := e.options; o.user == "default" {
		lines = append(lines, "requirepass "+o.password)
	} else if o.user != "" {
		lines = append(lines, "user default off", fmt.Sprintf("user %s on >%s ~* &* +@all", o.user, o.password))
	}
	if e.options.maxMessage > 0 {
		lines = append(lines, fmt.Sprintf("proto-max-bulk-len %d", e.options.maxMessage))
	}
	if e.full {
		lines = append(lines, "maxmemory 1")
	}
	if a := e.options.authority; a != nil {
		secure, err := e.ports("rediss")
		if err != nil {
			return plan{}, err
		}
		lines = append(lines, "tls-port "+secure[0], "tls-auth-clients no", "tls-ca-cert-file "+a.File(),
			"tls-cert-file "+e.options.pair.Cert, "tls-key-file "+e.options.pair.Key)
		p.ready["rediss"] = overTLS(greetRedis())
	}
	config, err := e.write("redis.conf", strings.Join(append(lines, e.options.lines...), "\n")+"\n")
	p.argv = []string{"redis-server", config}
	return p, err
}

// fillRedis sets the limit while the server runs.
func fillRedis(e *engine, full bool) error {
	address, err := e.address("redis")
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	commands, limit := 1, 0
	if full {
		limit = 1
	}
	var text string
	if o := e.options; o.user != "" {
		text, commands = command("AUTH", o.user, o.password), 2
	}
	if _, err := io.WriteString(conn, text+command("CONFIG", "SET", "maxmemory", fmt.Sprint(limit))); err != nil {
		return err
	}
	answers := bufio.NewReader(conn)
	for range commands {
		line, err := answers.ReadString('\n')
		if err != nil {
			return err
		}
		if line != "+OK\r\n" {
			return errors.New(strings.TrimSpace(line))
		}
	}
	return nil
}

// command is a command as Redis reads it.
func command(words ...string) string {
	text := fmt.Sprintf("*%d\r\n", len(words))
	for _, w := range words {
		text += fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)
	}
	return text
}
