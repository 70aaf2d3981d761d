package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// yard is a folder, a clock and a log.
type yard struct {
	*testing.T
	path string
	time time.Time
	log  bytes.Buffer
}

func newYard(t *testing.T) *yard {
	return &yard{T: t, path: filepath.Join(t.TempDir(), "dashboard.pem"), time: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)}
}

func (y *yard) open(names ...string) *Own {
	y.Helper()
	o, err := OpenOwn(y.path, append([]string{"north-7"}, names...), func() time.Time { return y.time }, slog.New(slog.NewTextHandler(&y.log, nil)))
	if err != nil {
		y.Fatal(err)
	}
	return o
}

func TestOwnCertificateIsGoodForWhoHasComparedIt(t *testing.T) {
	y := newYard(t)
	o := y.open("gateway.lan", "", "not a name", "192.0.2.1", "gätewäy")
	listener, err := tls.Listen("tcp", "127.0.0.1:0", o.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake() // the client looks at how it ends
			conn.Close()
		}
	}()
	trusted := x509.NewCertPool()
	trusted.AddCert(o.pair.Leaf)
	for _, name := range []string{"north-7", "gateway.lan", "localhost", "127.0.0.1"} {
		for _, clock := range []time.Time{time.Unix(100, 0), y.time, y.time.AddDate(9, 0, 0)} {
			conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{RootCAs: trusted, ServerName: name, Time: func() time.Time { return clock }})
			if err != nil {
				t.Fatalf("%s at %v: %v", name, clock, err)
			}
			sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw)
			if strings.ReplaceAll(o.Fingerprint(), ":", "") != strings.ToUpper(hex.EncodeToString(sum[:])) {
				t.Error("another certificate than is said")
			}
			conn.Close()
		}
	}
	if _, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{RootCAs: trusted, ServerName: "north-7", MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	if info, err := os.Stat(y.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestOwnCertificateStaysUntilItHasTo(t *testing.T) {
	y := newYard(t)
	o := y.open()
	first, key := o.Fingerprint(), o.pair.Leaf.RawSubjectPublicKeyInfo
	if y.open().Fingerprint() != first {
		t.Error("it changes with every start")
	}
	if y.log.Len() > 0 {
		t.Errorf("%s", &y.log)
	}
	// A new name, a new address, and time: another certificate, the same key.
	changes := map[string]func(){
		"name":    func() { o = y.open("gateway.lan") },
		"address": func() { o.at(net.IPv4(198, 51, 100, 7)) },
		"time":    func() { y.time = o.pair.Leaf.NotAfter.Add(-renewBefore + time.Second); o.at(nil) },
	}
	for _, what := range []string{"name", "address", "time"} {
		changes[what]()
		if o.Fingerprint() == first || !bytes.Equal(o.pair.Leaf.RawSubjectPublicKeyInfo, key) {
			t.Errorf("%s: the same certificate, or another key", what)
		}
		first = o.Fingerprint()
		if y.open("gateway.lan").Fingerprint() != first {
			t.Errorf("%s: it was not written", what)
		}
	}
	for range 3 { // to and fro between networks
		o.at(net.IPv4(198, 51, 100, 7))
		o.at(net.IPv4(127, 0, 0, 1))
		o.at(nil)
	}
	if o.Fingerprint() != first {
		t.Error("it changes without need")
	}
	for i := range 3 * maxAddrs {
		o.at(net.IPv4(198, 51, 100, byte(i)))
	}
	if n := len(o.pair.Leaf.IPAddresses); n != maxAddrs {
		t.Errorf("%d addresses", n)
	}
}

func TestOwnCertificateWithAClockOf1970(t *testing.T) {
	y := newYard(t)
	y.time = time.Unix(30, 0)
	o := y.open()
	first := o.Fingerprint()
	y.time = time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC)
	if pair, err := o.at(nil); err != nil || Fingerprint(pair) != first {
		t.Errorf("the certificate of 1970 has ended: %v", err)
	}
}

func TestDamagedOwnCertificateIsMadeAnew(t *testing.T) {
	y := newYard(t)
	first := y.open().Fingerprint()
	for _, text := range []string{"", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if err := os.WriteFile(y.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		y.log.Reset()
		if y.open().Fingerprint() == first || !strings.Contains(y.log.String(), "made anew") {
			t.Errorf("%q: %s", text, &y.log)
		}
	}
}

func TestOwnCertificateThatCannotBeWrittenIsUsedAllTheSame(t *testing.T) {
	y := newYard(t)
	y.path = filepath.Join(t.TempDir(), "nowhere", "dashboard.pem")
	if o := y.open(); o.Fingerprint() == "" || !strings.Contains(y.log.String(), "could not be written") {
		t.Errorf("%s", &y.log)
	}
}
