//go:build !nokafka

package kafkaout

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

func TestLogins(t *testing.T) {
	for mechanism, word := range map[string]string{"plain": "PLAIN", "scram-sha-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			cluster := newCluster(t, kfake.EnableSASL(), kfake.Superuser(word, "north", "right"))
			cfg := Config{Brokers: cluster.ListenAddrs(), SASL: SASL{Mechanism: mechanism, Username: "north", Password: uplinktest.Secret(t, "right")}}
			if err := newSink(t, cfg).Send(within(t), message("body")); err != nil {
				t.Errorf("right password: %v", err)
			}
			cfg.SASL.Password = uplinktest.Secret(t, "wrong")
			mustBeLogin(t, cfg)
		})
	}
	cluster := newCluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "north", "right"))
	t.Run("AnotherMechanism", func(t *testing.T) {
		mustBeLogin(t, Config{Brokers: cluster.ListenAddrs(), SASL: SASL{Mechanism: "scram-sha-512", Username: "north", Password: uplinktest.Secret(t, "right")}})
	})
	t.Run("Token", func(t *testing.T) {
		mustBeLogin(t, Config{Brokers: cluster.ListenAddrs(), SASL: SASL{Mechanism: "oauthbearer", Token: func(context.Context) (string, error) { return "token", nil }}})
	})
	t.Run("None", func(t *testing.T) {
		err := newSink(t, Config{Brokers: cluster.ListenAddrs()}).Send(within(t), message("body"))
		checkClass(t, err, transient)
		if err != nil && !strings.Contains(err.Error(), "sasl") {
			t.Errorf("%v, want a hint at sasl", err)
		}
	})
}

// What Kafka itself answers to logins, which kfake does not: a token that it
// takes, and its own words for one that it does not.
func TestLoginsInTheWordsOfKafka(t *testing.T) {
	cfg := func(c *kfake.Cluster, token string) Config {
		return Config{Brokers: c.ListenAddrs(), SASL: SASL{Mechanism: "oauthbearer", Token: func(context.Context) (string, error) { return token, nil }}}
	}
	cluster := newCluster(t)
	var tokens atomic.Int32
	cluster.ControlKey(int16(kmsg.SASLHandshake), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLHandshakeResponse)
		resp.SupportedMechanisms = []string{"OAUTHBEARER"}
		return resp, nil, true
	})
	cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		if !strings.Contains(string(r.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes), "auth=Bearer good") {
			text := "the token has lapsed"
			resp.ErrorCode, resp.ErrorMessage = kerr.SaslAuthenticationFailed.Code, &text
		}
		tokens.Add(1)
		return resp, nil, true
	})
	sink := newSink(t, cfg(cluster, "good"))
	for range 2 {
		if err := sink.Send(within(t), message("body")); err != nil {
			t.Error(err)
		}
		sink.rest()
	}
	if tokens.Load() != 2 {
		t.Errorf("%d logins, want one for each connection", tokens.Load())
	}
	mustBeLogin(t, cfg(cluster, "bad"))
	other := newCluster(t)
	other.ControlKey(int16(kmsg.SASLHandshake), func(r kmsg.Request) (kmsg.Response, error, bool) {
		other.KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLHandshakeResponse)
		resp.ErrorCode, resp.SupportedMechanisms = kerr.UnsupportedSaslMechanism.Code, []string{"GSSAPI"}
		return resp, nil, true
	})
	mustBeLogin(t, cfg(other, "good"))
}

// mustBeLogin checks that Send and Probe say that somebody must look after the
// login, once.
func mustBeLogin(t *testing.T, cfg Config) {
	t.Helper()
	sink := newSink(t, cfg)
	err := sink.Send(within(t), message("body"))
	_, probed := sink.Probe(within(t))
	for _, err := range []error{err, probed} {
		checkClass(t, err, config)
		if err != nil && (!strings.Contains(err.Error(), hintSASL) || strings.Contains(err.Error(), "right")) {
			t.Errorf("%v, want the hint %q, and no password", err, hintSASL)
		}
	}
}

// A user that may write and nothing else does not learn the limit, and sends all
// the same.
func TestUserThatMayOnlyWrite(t *testing.T) {
	write := kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: topic, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationWrite, Allow: true}
	cluster := newCluster(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "admin"), kfake.User("PLAIN", "north", "right", write))
	cfg := Config{Brokers: cluster.ListenAddrs(), SASL: SASL{Mechanism: "plain", Username: "north", Password: uplinktest.Secret(t, "right")}}
	sink := newSink(t, cfg)
	if err := sink.Send(within(t), message("body")); err != nil {
		t.Error(err)
	}
	if n := sink.Limit(); n != 0 {
		t.Errorf("limit %d, want none", n)
	}
	cfg.Topic = parsed(t, "elsewhere")
	err := newSink(t, cfg).Send(within(t), message("body"))
	checkClass(t, err, config)
}

func TestTLS(t *testing.T) {
	good, roots := certificate(t, time.Hour)
	expired, old := certificate(t, -time.Hour)
	trusting := func(roots *x509.CertPool) *tls.Config { return &tls.Config{RootCAs: roots} }
	server := func(c tls.Certificate) []string {
		return newCluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{c}})).ListenAddrs()
	}
	secure, lapsed := server(good), server(expired)
	if err := newSink(t, Config{Brokers: secure, TLS: trusting(roots)}).Send(within(t), message("body")); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		name    string
		brokers []string
		tls     *tls.Config
		hint    string
	}{
		{"UnknownAuthority", secure, trusting(old), "unknown authority"},
		{"Expired", lapsed, trusting(old), "clock"},
		{"PlainToTLS", secure, nil, "is tls right"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := newSink(t, Config{Brokers: c.brokers, TLS: c.tls}).Send(within(t), message("body"))
			checkClass(t, err, transient)
			if err != nil && !strings.Contains(err.Error(), c.hint) {
				t.Errorf("%v, want %q in it", err, c.hint)
			}
		})
	}
}

// certificate returns one for 127.0.0.1 that vouches for itself, and ends after
// life.
func certificate(t testing.TB, life time.Duration) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "kafka"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(life), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, roots
}

// What listens there may be anything: that it is no Kafka must not take long, nor
// more memory than an answer may have.
func TestOtherProtocols(t *testing.T) {
	for name, answer := range map[string]string{
		"HTTP":    "HTTP/1.1 400 Bad Request\r\n\r\n",
		"TLS":     "\x15\x03\x01\x00\x02\x02\x46",
		"Zeros":   strings.Repeat("\x00", 64),
		"Numbers": strings.Repeat("\x00\x00\x00\x10", 64),
	} {
		t.Run(name, func(t *testing.T) {
			err := newSink(t, Config{Brokers: []string{babbler(t, answer)}}).Send(within(t), message("body"))
			checkClass(t, err, transient)
			if err != nil && !strings.Contains(err.Error(), "hint: ") {
				t.Errorf("%v, want a hint", err)
			}
		})
	}
}

// babbler answers everything with the same.
func babbler(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() {
				defer c.Close()
				if _, err := c.Read(make([]byte, 1024)); err == nil {
					io.WriteString(c, answer)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); tasks.Wait() })
	return l.Addr().String()
}

// deaf takes connections and is never heard.
func deaf(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// A broker that is connected to and never heard of holds a Send no longer than
// its context, at whatever step.
func TestDeafBroker(t *testing.T) {
	roots := x509.NewCertPool()
	for name, settings := range map[string]*tls.Config{"Plain": nil, "TLS": {RootCAs: roots}} {
		t.Run(name, func(t *testing.T) {
			sink := newSink(t, Config{Brokers: []string{deaf(t)}, TLS: settings})
			for what, try := range map[string]func(context.Context) error{
				"send":  func(ctx context.Context) error { return sink.Send(ctx, message("body")) },
				"probe": func(ctx context.Context) error { _, err := sink.Probe(ctx); return err },
			} {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				begun := time.Now()
				err := try(ctx)
				cancel()
				checkClass(t, err, transient)
				if took := time.Since(begun); took > patience/4 {
					t.Errorf("%s held on for %v", what, took)
				}
			}
		})
	}
}

func TestProbeSaysWhatAnAcknowledgementIsWorth(t *testing.T) {
	cluster := newCluster(t, kfake.ClusterID("plant"))
	sink := newSink(t, Config{Brokers: cluster.ListenAddrs()})
	text, err := sink.Probe(within(t))
	for _, want := range []string{`cluster "plant" of 1 broker`, "topic telemetry of 1 partition and 1 replica", "messages of up to", "lost with that broker"} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%q %v, want %q in it", text, err, want)
		}
	}
	if info := cluster.PartitionInfo(topic, 0); info.HighWatermark != 0 {
		t.Error("Probe has sent something")
	}
	if sink.Limit() == 0 {
		t.Error("Probe knows the limit, and keeps it for itself")
	}
	text, err = newSink(t, Config{Brokers: cluster.ListenAddrs(), Topic: parsed(t, "t.{device}")}).Probe(within(t))
	if err != nil || text != `Kafka cluster "plant" of 1 broker` {
		t.Errorf("%q %v", text, err)
	}
	if err := sink.Send(within(t), message("body")); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sink.Probe(ended); err == nil || !linked(sink, cluster.ListenAddrs()[0]) {
		t.Errorf("%v; a Probe that was given up ended the connections of others", err)
	}
	_, err = newSink(t, Config{Brokers: cluster.ListenAddrs(), Topic: parsed(t, "nowhere")}).Probe(within(t))
	checkClass(t, err, config)
}

// linked says whether the sink has a connection to the broker.
func linked(sink *Sink, address string) bool {
	sink.mu.Lock()
	defer sink.mu.Unlock()
	l := sink.opened[address]
	return l != nil && l.Alive()
}

var _ uplink.Prober = (*Sink)(nil)
var _ uplink.Limited = (*Sink)(nil)
