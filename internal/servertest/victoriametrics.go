package servertest

import (
	"bytes"
	"errors"
	"net"
	"testing"
)

// VictoriaMetrics starts a single VictoriaMetrics. It answers writes before they
// are on disk: Kill loses those of the last seconds, Stop does not. With TLS it
// speaks nothing else: "https" instead of "http". Fill starts it again with more
// reserve on its disk than there is: it becomes read-only.
func VictoriaMetrics(t testing.TB, opts ...Option) *Server {
	t.Helper()
	return begin(t, kind{
		name: "VictoriaMetrics", pack: "victoria-metrics", programs: []string{"victoria-metrics"},
		plan: planVictoriaMetrics, fill: refilled,
	}, opts)
}

func planVictoriaMetrics(e *engine) (plan, error) {
	scheme, _ := httpOr(e)
	address, err := e.address(scheme)
	if err != nil {
		return plan{}, err
	}
	p := plan{
		argv: []string{"victoria-metrics", "-httpListenAddr=" + address, "-storageDataPath=" + e.dir + "/data",
			"-retentionPeriod=100y", "-search.latencyOffset=0s", "-memory.allowedBytes=128MiB"},
		ready: map[string]greet{scheme: greetVictoriaMetrics(e.options)},
	}
	if e.options.maxMessage > 0 {
		return plan{}, errors.New("there is no limit for messages")
	}
	if o := e.options; o.user != "" {
		p.argv = append(p.argv, "-httpAuth.username="+o.user, "-httpAuth.password="+o.password)
	}
	if e.options.authority != nil {
		p.argv = append(p.argv, "-tls", "-tlsCertFile="+e.options.pair.Cert, "-tlsKeyFile="+e.options.pair.Key)
	}
	if e.full {
		p.argv = append(p.argv, "-storage.minFreeDiskSpaceBytes=1000000000000000")
	}
	p.argv = append(p.argv, e.options.lines...)
	return p, nil
}

// greetVictoriaMetrics is answered when the program waits for the signal that ends it:
// it takes readings before that, and would forget them if it was ended then.
func greetVictoriaMetrics(o options) greet {
	const path = "/debug/pprof/goroutine?debug=2"
	g := func(conn net.Conn) error {
		text, err := getHTTP(conn, path, o.user, o.password)
		if err == nil && !bytes.Contains(text, []byte("WaitForSigterm")) {
			err = errors.New("it does not wait for signals yet")
		}
		return err
	}
	if o.authority == nil {
		return g
	}
	return overTLS(g)
}
