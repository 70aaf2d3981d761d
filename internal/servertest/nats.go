package servertest

import (
	"fmt"
	"strings"
	"testing"
)

// NATS starts nats-server with JetStream (without, if Volatile). With TLS it
// takes nothing else, and says so in its first line. Fill starts it again with no
// room for streams in files.
func NATS(t testing.TB, opts ...Option) *Server {
	t.Helper()
	return begin(t, kind{
		name: "NATS", pack: "nats-server", programs: []string{"nats-server"},
		plan: planNATS, fill: refilled,
	}, opts)
}

func planNATS(e *engine) (plan, error) {
	address, err := e.address("nats")
	if err != nil {
		return plan{}, err
	}
	lines := []string{"listen: " + address, "server_name: tidegate-test"}
	p := plan{ready: map[string]greet{"nats": greetNATS(!e.options.volatile)}}
	if !e.options.volatile {
		room := int64(1 << 30)
		if e.full {
			room = 1
		}
		lines = append(lines, fmt.Sprintf("jetstream { store_dir: %q, max_mem: 64MB, max_file: %d }", e.dir, room))
	}
	if o := e.options; o.user != "" {
		lines = append(lines, fmt.Sprintf("authorization { user: %q, password: %q }", o.user, o.password))
	}
	if e.options.maxMessage > 0 {
		lines = append(lines, fmt.Sprintf("max_payload: %d", e.options.maxMessage))
	}
	if e.options.authority != nil {
		lines = append(lines, fmt.Sprintf("tls { cert_file: %q, key_file: %q, timeout: 10 }", e.options.pair.Cert, e.options.pair.Key))
		p.alias = map[string]string{"tls": "nats"}
	}
	config, err := e.write("nats.conf", strings.Join(append(lines, e.options.lines...), "\n")+"\n")
	p.argv = []string{"nats-server", "-c", config}
	return p, err
}
