package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/ingest/mqttin"
	"github.com/tidegate/tidegate/internal/passwd"
)

// writeCertificate writes cert.pem and key.pem into dir: a certificate that
// signs itself.
func writeCertificate(t *testing.T, dir, name string, ends time.Time) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: ends.Add(-365 * 24 * time.Hour), NotAfter: ends,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func admitted(t *testing.T, m MQTT) mqttin.Config {
	t.Helper()
	var door mqttin.Config
	if err := m.admit(&door, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return door
}

func TestChangedPasswordsCountWithoutARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "passwords")
		set := func(user, password string) {
			if err := passwd.Set(path, user, []byte(password)); err != nil {
				t.Fatal(err)
			}
		}
		set("anna", "old")
		set("ben", "b")
		door := admitted(t, MQTT{PasswordFile: path})
		if door.Anonymous {
			t.Error("everybody may connect")
		}
		knows := func(user, password string) bool { return door.Authorize(t.Context(), user, []byte(password)) }
		if !knows("anna", "old") || !knows("ben", "b") {
			t.Error("a user is not known")
		}
		set("anna", "new")
		if err := passwd.Delete(path, "ben"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if !knows("anna", "new") || knows("anna", "old") || knows("ben", "b") {
			t.Error("a password that was good once is good for ever")
		}
		if err := os.WriteFile(path, []byte("anna:new\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if !knows("anna", "new") {
			t.Error("a mistake in the file keeps everybody out")
		}
	})
}

func TestChangedCertificateIsShownWithoutARestart(t *testing.T) {
	dir := t.TempDir()
	ends := time.Now().Add(365 * 24 * time.Hour)
	synctest.Test(t, func(t *testing.T) {
		cert, key := writeCertificate(t, dir, "first", ends)
		door := admitted(t, MQTT{TLSCert: cert, TLSKey: key})
		if !door.Anonymous {
			t.Error("a certificate of the broker's is not one of the clients'")
		}
		for _, want := range []string{"first", "second"} {
			if want == "second" {
				writeCertificate(t, dir, want, ends)
				time.Sleep(time.Second)
			}
			cfg, err := door.TLS.GetConfigForClient(&tls.ClientHelloInfo{})
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := x509.ParseCertificate(cfg.Certificates[0].Certificate[0])
			if err != nil || leaf.Subject.CommonName != want {
				t.Errorf("got %v, %v, want %s", leaf.Subject, err, want)
			}
		}
	})
}

func TestFilesThatAreWrongKeepTheDoorShut(t *testing.T) {
	dir := t.TempDir()
	cert, _ := writeCertificate(t, dir, "broker", time.Now().Add(time.Hour))
	for _, m := range []MQTT{
		{PasswordFile: filepath.Join(dir, "none")},
		{TLSCert: cert, TLSKey: cert},
	} {
		if err := m.admit(new(mqttin.Config), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%+v was taken", m)
		}
	}
}

func TestCheckLooksAtThoseWhoMayConnect(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	cert, key := writeCertificate(t, dir, "broker", now.Add(365*24*time.Hour))
	users := filepath.Join(dir, "passwords")
	if err := passwd.Set(users, "anna", []byte("a")); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m     MQTT
		now   time.Time
		level Level
		word  string
	}{
		{MQTT{}, now, OK, "everybody"},
		{MQTT{PasswordFile: users}, now, OK, "passwords: 1"},
		{MQTT{PasswordFile: open}, now, Warn, "chmod o-rwx"},
		{MQTT{PasswordFile: filepath.Join(dir, "none")}, now, Fail, "no such file"},
		{MQTT{PasswordFile: cert}, now, Fail, "cert.pem:1:"},
	} {
		k := &checklist{}
		c.m.Listen = "127.0.0.1:0"
		k.access(c.m)
		expect(t, only(t, k), c.level, c.word)
	}
	for _, c := range []struct {
		key   string
		now   time.Time
		level Level
		word  string
	}{
		{key, now, OK, "valid until"},
		{key, now.Add(360 * 24 * time.Hour), Warn, "ends on"},
		{key, now.Add(366 * 24 * time.Hour), Fail, "ended on"},
		{cert, now, Fail, "the key is the certificate's"},
	} {
		k := &checklist{}
		k.shows(certificate{where: "ingest.mqtt", files: MQTT{TLSCert: cert, TLSKey: c.key}.tlsFiles()}, c.now)
		expect(t, only(t, k), c.level, c.word)
	}
}
