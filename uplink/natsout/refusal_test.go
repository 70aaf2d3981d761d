package natsout

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// What a real server says when something is missing, full or forbidden.
func TestRealRefusals(t *testing.T) {
	server := servertest.NATS(t, servertest.Config(`authorization { users: [
		{ user: gateway, password: "open-sesame" },
		{ user: deaf, password: "open-sesame", permissions: { publish: "telemetry.>", subscribe: "none" } },
		{ user: narrow, password: "open-sesame", permissions: { publish: "telemetry.allowed", subscribe: "_INBOX_n.>" } } ] }`))
	address := server.Addr("nats")
	makeStream(t, address, jetstream.StreamConfig{Subjects: []string{"telemetry.>"}, MaxMsgSize: 5000})
	makeStream(t, address, jetstream.StreamConfig{Name: "FULL", Subjects: []string{"full"}, MaxMsgs: 1, Discard: jetstream.DiscardNew})
	makeStream(t, address, jetstream.StreamConfig{Name: "MUTE", Subjects: []string{"mute"}, NoAck: true})
	fill := as(t, address, password, Config{Subject: template(t, "full")})
	if err := fill.Send(within(t, soon), message(7, 10)); err != nil {
		t.Fatal(err)
	}
	for n, c := range []struct {
		name, user string
		cfg        Config
		size       int
		class      string
		says       string
	}{
		{"NoStream", user, Config{Subject: template(t, "nobody.{gateway}")}, 10, "1m0s", `nats stream add NAME --subjects "nobody.north-7"`},
		{"OtherStream", user, Config{Subject: template(t, "telemetry.a"), Stream: "OTHER"}, 10, "1m0s", "another stream"},
		{"RightStream", user, Config{Subject: template(t, "telemetry.a"), Stream: stream}, 10, accepted, ""},
		{"Full", user, Config{Subject: template(t, "full")}, 10, "30s", "discards what is new"},
		{"StreamsLimit", user, Config{Subject: template(t, "telemetry.a")}, 5001, isTooLarge, "max_msg_size"},
		{"ServersLimit", user, Config{Subject: template(t, "telemetry.a")}, 1 << 20, isTooLarge, "max_payload"},
		{"Deaf", "deaf", Config{Subject: template(t, "telemetry.a")}, 10, "1m0s", "inbox_prefix"},
		{"Forbidden", "narrow", Config{Subject: template(t, "telemetry.other"), InboxPrefix: "_INBOX_n"}, 10, "1m0s", "may not publish"},
		{"Allowed", "narrow", Config{Subject: template(t, "telemetry.allowed"), InboxPrefix: "_INBOX_n"}, 10, accepted, ""},
		{"Unknown", "nobody", Config{Subject: template(t, "telemetry.a")}, 10, "1m0s", "password_file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := c.cfg
			cfg.Servers, cfg.Username, cfg.Password = []string{address}, c.user, uplinktest.Secret(t, password)
			err := newSink(t, cfg).Send(within(t, soon), message(n, c.size))
			if classOf(err) != c.class || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Count(err.Error(), "hint: ") != 1) {
				t.Errorf("%s, want %s and %q: %v", classOf(err), c.class, c.says, err)
			}
		})
	}
	t.Run("Mute", func(t *testing.T) {
		_, err := as(t, address, password, Config{Subject: template(t, "mute")}).Probe(within(t, soon))
		if classOf(err) != "1m0s" || !strings.Contains(err.Error(), "no_ack") {
			t.Errorf("%v", err)
		}
	})
}

// What is worth less than it seems is said when the sink is tried out.
func TestProbeIsCautious(t *testing.T) {
	server := servertest.NATS(t, servertest.User(user, password))
	address := server.Addr("nats")
	makeStream(t, address, jetstream.StreamConfig{Name: "GOOD", Subjects: []string{"good.>"}, Duplicates: 2 * time.Hour, Discard: jetstream.DiscardNew, MaxMsgs: 1000})
	makeStream(t, address, jetstream.StreamConfig{
		Name: "WEAK", Subjects: []string{"weak"}, Storage: jetstream.MemoryStorage, Retention: jetstream.InterestPolicy, MaxMsgs: 1000,
	})
	for subject, want := range map[string][]string{
		"good.{gateway}.{device}": {"nats-server 2.", "stream GOOD for good.{gateway}.{device}, in file, 1 of it"},
		"weak":                    {"stream WEAK for weak, in memory, 1 of it", "kept in memory", "for 2m0s only", "a consumer for", "oldest"},
	} {
		about, err := as(t, address, password, Config{Subject: template(t, subject)}).Probe(within(t, soon))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range want {
			if !strings.Contains(about, part) {
				t.Errorf("%s: %q has no %q", subject, about, part)
			}
		}
		lines := strings.Split(about, "\n")[1:]
		if cautious := strings.HasPrefix(subject, "weak"); cautious != (len(lines) == 4) {
			t.Errorf("%s: %q", subject, lines)
		}
		for _, line := range lines {
			if strings.Count(line, " — hint: ") != 1 {
				t.Errorf("no hint in %q", line)
			}
		}
	}
	_, err := as(t, address, password, Config{Subject: template(t, "missing")}).Probe(within(t, soon))
	if classOf(err) != "1m0s" || !strings.Contains(err.Error(), "nats stream add") {
		t.Errorf("%v", err)
	}
	bare := servertest.NATS(t, servertest.User(user, password), servertest.Volatile())
	_, err = as(t, bare.Addr("nats"), password, Config{}).Probe(within(t, soon))
	if classOf(err) != "1m0s" || !strings.Contains(err.Error(), "no JetStream") {
		t.Errorf("%v", err)
	}
}

func TestLoginByNkeyAndToken(t *testing.T) {
	keys, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := keys.PublicKey()
	seed, _ := keys.Seed()
	nkey := servertest.NATS(t, servertest.Config(fmt.Sprintf("authorization { users: [ { nkey: %s } ] }", public)))
	seeds := filepath.Join(t.TempDir(), "user.nk")
	cfg := Config{Servers: []string{nkey.Addr("nats")}, NkeyFile: seeds}
	sink := newSink(t, cfg)
	if err := sink.Send(within(t, soon), message(0, 10)); classOf(err) != "1m0s" || !strings.Contains(err.Error(), "seed of a user") {
		t.Errorf("without the file: %v", err)
	}
	if err := os.WriteFile(seeds, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	mustLogIn(t, sink)
	token := servertest.NATS(t, servertest.Config(`authorization { token: "a-token" }`))
	mustLogIn(t, newSink(t, Config{Servers: []string{token.Addr("nats")}, Token: uplinktest.Secret(t, "a-token")}))
	err = newSink(t, Config{Servers: []string{token.Addr("nats")}, Token: uplinktest.Secret(t, "another")}).Send(within(t, soon), message(0, 10))
	if classOf(err) != "1m0s" || strings.Contains(err.Error(), "another") {
		t.Errorf("%v", err)
	}
}

// mustLogIn sends: there is no stream, which is said only to those who are in.
func mustLogIn(t *testing.T, sink *Sink) {
	t.Helper()
	if err := sink.Send(within(t, soon), message(0, 10)); err == nil || !strings.Contains(err.Error(), "no stream takes the subject") {
		t.Errorf("%v", err)
	}
}

// A creds file holds a JWT that the account has signed, which the operator has
// signed. The server ends a connection whose JWT expires.
func TestLoginByCredentials(t *testing.T) {
	operator, account, gateway := pair(t, nkeys.CreateOperator), pair(t, nkeys.CreateAccount), pair(t, nkeys.CreateUser)
	all := map[string]any{"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1}
	operatorJWT := sign(t, operator, operator, 0, map[string]any{"type": "operator", "version": 2})
	accountJWT := sign(t, operator, account, 0, map[string]any{"type": "account", "version": 2, "limits": all})
	server := servertest.NATS(t, servertest.Volatile(), servertest.Config(
		"operator: "+operatorJWT, "resolver: MEMORY", fmt.Sprintf("resolver_preload: { %s: %q }", account.public, accountJWT)))
	creds := filepath.Join(t.TempDir(), "gateway.creds")
	write := func(expires time.Time) {
		text := "-----BEGIN NATS USER JWT-----\n" + sign(t, account, gateway, expires.Unix(), map[string]any{"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}) +
			"\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n" + gateway.seed + "\n------END USER NKEY SEED------\n"
		if err := os.WriteFile(creds, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(time.Now().Add(-time.Minute))
	sink := newSink(t, Config{Servers: []string{server.Addr("nats")}, CredsFile: creds})
	if err := sink.Send(within(t, soon), message(0, 10)); classOf(err) != "1m0s" || !strings.Contains(err.Error(), "creds_file") {
		t.Errorf("expired: %v", err)
	}
	write(time.Now().Add(time.Hour))
	mustLogIn(t, sink) // the file is read again
}

// keyPair is an nkey with its texts.
type keyPair struct {
	nkeys.KeyPair
	public, seed string
}

func pair(t *testing.T, create func() (nkeys.KeyPair, error)) keyPair {
	t.Helper()
	k, err := create()
	if err != nil {
		t.Fatal(err)
	}
	public, err := k.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := k.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{k, public, string(seed)}
}

// sign makes a JWT as nats-server wants it, version 2.
func sign(t *testing.T, issuer, subject keyPair, expires int64, what map[string]any) string {
	t.Helper()
	claims := map[string]any{"iat": time.Now().Add(-time.Hour).Unix(), "iss": issuer.public, "sub": subject.public, "name": "test", "nats": what}
	if expires != 0 {
		claims["exp"] = expires
	}
	unnamed, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(unnamed)
	claims["jti"] = base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"ed25519-nkey"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	signature, err := issuer.Sign([]byte(text))
	if err != nil || len(signature) != ed25519.SignatureSize {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}
