package login

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const good = "correct horse battery"

var (
	here   = From{Addr: netip.MustParseAddr("127.0.0.1"), Local: true}
	phone  = From{Addr: netip.MustParseAddr("192.168.4.20")}
	other  = From{Addr: netip.MustParseAddr("192.168.4.66")}
	proxy  = From{Addr: netip.MustParseAddr("127.0.0.1"), Proxied: true}
	public = From{Addr: netip.MustParseAddr("203.0.113.9")}
)

// bench is a gate on a folder that outlives it.
type bench struct {
	*Gate
	t   *testing.T
	dir string
	log *bytes.Buffer
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir(), log: &bytes.Buffer{}}
	b.restart()
	return b
}

// restart is a start of the gateway. A hash is quick here.
func (b *bench) restart() {
	quick := func(password []byte) string {
		sum := sha256.Sum256(password)
		return "quick " + hex.EncodeToString(sum[:])
	}
	b.Gate = Open(Config{
		Dir: b.dir, Gateway: "north-7", Hash: quick,
		Parse: func(hashed string) (func([]byte) bool, error) {
			if len(hashed) != len("quick ")+64 || !strings.HasPrefix(hashed, "quick ") {
				return nil, errors.New("no hash")
			}
			return func(password []byte) bool { return quick(password) == hashed }, nil
		},
	}, slog.New(slog.NewTextHandler(b.log, nil)))
}

// operated is a gate with an operator.
func operated(t *testing.T) *bench {
	b := newBench(t)
	if _, err := b.SetUp(t.Context(), phone, b.PrintedCode(), good); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) file(name string) string {
	text, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	return string(text)
}

func (b *bench) write(name, text string) {
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) checkModes() {
	b.t.Helper()
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			b.t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
}

func TestSetUpMakesAnOperatorOnce(t *testing.T) {
	b := newBench(t)
	code := b.PrintedCode()
	if strings.TrimSpace(b.file(codeFile)) != code || len(code) != codeLength+4 {
		t.Fatalf("printed %q, in the file %q", code, b.file(codeFile))
	}
	b.restart()
	if b.PrintedCode() != code {
		t.Error("a restart changes the code, which somebody may have written down")
	}
	b.checkModes()
	typed := strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(code, "-", " "), "0", "o"))
	secret, err := b.SetUp(t.Context(), phone, typed, good)
	if err != nil {
		t.Fatal(err)
	}
	if grant, ok := b.Session(secret); !ok || grant.Level != Operate {
		t.Errorf("%+v, %v", grant, ok)
	}
	if b.PrintedCode() != "" || b.file(codeFile) != "" {
		t.Error("the code is there after its use")
	}
	if _, err := b.SetUp(t.Context(), phone, code, "another horse battery"); err == nil {
		t.Error("set up twice")
	}
	b.restart()
	b.checkModes()
	if _, ok := b.Session(secret); ok {
		t.Error("a session survives a restart")
	}
	if _, err := b.SignIn(t.Context(), phone, good); err != nil {
		t.Error(err)
	}
	if strings.Contains(b.file(operatorFile), good) || strings.Contains(b.log.String(), good) {
		t.Error("the password is told")
	}
}

func TestSetUpWantsTheCodeAndIsForTheNeighbourhood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for _, wrong := range []string{"", newCode(), b.PrintedCode()[1:], strings.Repeat("x", 1000)} {
			if _, err := b.SetUp(t.Context(), here, wrong, good); !errors.Is(err, ErrWrong) {
				t.Errorf("%.30q: %v", wrong, err)
			}
		}
		for _, far := range []From{public, proxy, {Addr: netip.MustParseAddr("2001:db8::1")}, {}} {
			if _, err := b.SetUp(t.Context(), far, b.PrintedCode(), good); !errors.Is(err, ErrNotFromHere) {
				t.Errorf("from %v: %v", far, err)
			}
			if s := b.State(far); s.SetUp || s.Why == nil {
				t.Errorf("from %v: %+v", far, s)
			}
		}
		for _, near := range []string{"10.1.2.3", "172.16.0.1", "169.254.3.4", "fe80::1%eth0", "fd00::1", "::ffff:192.168.1.2"} {
			if s := b.State(From{Addr: netip.MustParseAddr(near)}); s.Why != nil {
				t.Errorf("from %s: %v", near, s.Why)
			}
		}
		time.Sleep(codeTime + time.Second)
		if _, err := b.SetUp(t.Context(), here, b.PrintedCode(), good); !errors.Is(err, ErrNotFromHere) {
			t.Errorf("after half an hour: %v", err)
		}
		if _, _, err := b.Code(); err != nil { // as "tidegate setup-code" does
			t.Fatal(err)
		}
		if _, err := b.SetUp(t.Context(), phone, b.PrintedCode(), good); err != nil {
			t.Error(err)
		}
	})
}

func TestPasswordsThatAreTriedFirstAreRefused(t *testing.T) {
	b := newBench(t)
	for _, c := range []string{
		"", "short", "nine char", "1234567890", "Password123!", "aaaaaaaaaaaaaa", "QWERTYUIOP", "north-7", "NORTH-7-2024", "north-7!!!!!!!!", b.PrintedCode(),
		strings.ToLower(b.PrintedCode()), strings.Repeat("long ", 300), "not utf-8 \xff\xff\xff",
	} {
		if _, err := b.SetUp(t.Context(), phone, b.PrintedCode(), c); !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%.40q: %v", c, err)
		}
	}
	for _, c := range []string{good, "zehn Zeiche", "пароль-кот-дом", "north-7 turns left at noon"} {
		if err := b.SetPassword(t.Context(), c); err != nil {
			t.Errorf("%q: %v", c, err)
		}
	}
	if n := b.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions that nobody has", n)
	}
}

func TestResetIsANewGateway(t *testing.T) {
	b := operated(t)
	secret, err := b.SignIn(t.Context(), phone, good)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Session(secret); ok {
		t.Error("the operator before is still signed in")
	}
	if _, err := b.SetUp(t.Context(), phone, "", good); err == nil {
		t.Error("set up without a code")
	}
	code, _, err := b.Code()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.SetUp(t.Context(), phone, code, "another horse battery"); err != nil {
		t.Error(err)
	}
}

func TestChangedPasswordEndsEverySession(t *testing.T) {
	b := operated(t)
	var old []string
	for range 3 {
		secret, err := b.SignIn(t.Context(), phone, good)
		if err != nil {
			t.Fatal(err)
		}
		old = append(old, secret)
	}
	grant, _ := b.Session(old[0])
	cut := 0
	defer grant.Tie(func() { cut++ })()
	if _, err := b.ChangePassword(t.Context(), phone, "not that", "another horse battery"); !errors.Is(err, ErrWrong) {
		t.Errorf("%v", err)
	}
	if _, err := b.ChangePassword(t.Context(), phone, good, "short"); !errors.Is(err, ErrUnfit) || cut != 0 {
		t.Errorf("%v", err)
	}
	fresh, err := b.ChangePassword(t.Context(), phone, good, "another horse battery")
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range old {
		if _, ok := b.Session(secret); ok {
			t.Error("a session outlives the password")
		}
	}
	if _, ok := b.Session(fresh); !ok || cut != 1 {
		t.Errorf("session %v, %d of 1 request cut", ok, cut)
	}
	grant.Tie(func() { cut++ })
	if cut != 2 {
		t.Error("an ended session allows a request")
	}
	if _, err := b.SignIn(t.Context(), phone, good); !errors.Is(err, ErrWrong) {
		t.Errorf("the old password: %v", err)
	}
}

func TestSignInGivesUpWhenItsContextEnds(t *testing.T) {
	b := operated(t)
	b.hashing <- struct{}{} // somebody else's password takes long
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.SignIn(ctx, phone, good); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestSessionsEndByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := operated(t)
		signIn := func() string {
			secret, err := b.SignIn(t.Context(), phone, good)
			if err != nil {
				t.Fatal(err)
			}
			return secret
		}
		idle, used := signIn(), signIn()
		for began := time.Now(); time.Since(began) < sessionTime; time.Sleep(11 * time.Hour) {
			grant, ok := b.Session(used)
			if !ok || grant.Ends.Sub(time.Now()) > idleTime || grant.Ends.Sub(began) > sessionTime {
				t.Fatalf("after %v: %v, ends %v", time.Since(began), ok, grant.Ends)
			}
		}
		if _, ok := b.Session(used); ok {
			t.Error("a session lasts longer than a week")
		}
		if _, ok := b.Session(idle); ok || b.Stats().Sessions != 0 {
			t.Error("an idle session lasts longer than half a day")
		}
		first := signIn()
		for range maxSessions {
			time.Sleep(time.Second)
			signIn()
		}
		if _, ok := b.Session(first); ok || b.Stats().Sessions != maxSessions {
			t.Errorf("%d sessions", b.Stats().Sessions)
		}
	})
}

func TestEventsAreCountedAndLoggedWithMeasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := operated(t)
		for range 100 {
			b.Note(ForeignHost, phone, "host", "evil.example")
		}
		if n := strings.Count(b.log.String(), "event=foreign_host"); n != linesAMinute || b.Stats().Events[ForeignHost] != 100 {
			t.Errorf("%d lines of %d", n, b.Stats().Events[ForeignHost])
		}
		time.Sleep(minute)
		b.Note(ForeignHost, phone, "host", "evil.example")
		if !strings.Contains(b.log.String(), "level=WARN msg=access event=foreign_host from=192.168.4.20 host=evil.example unsaid=95") {
			t.Errorf("%s", b.log)
		}
	})
}

func TestAFileMakesAnOperatorBeforeTheGatewayRuns(t *testing.T) {
	if err := Fit("north-7", good); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"tiny", "north-7-2026!", "password123"} {
		if err := Fit("north-7", bad); !errors.Is(err, ErrUnfit) || strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	b := newBench(t) // with a set-up code
	sum := sha256.Sum256([]byte(good))
	name, text, err := Kept("quick "+hex.EncodeToString(sum[:]), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
	b.restart()
	if _, err := b.SignIn(t.Context(), other, good); err != nil || b.PrintedCode() != "" {
		t.Errorf("%v, code %q", err, b.PrintedCode())
	}
}
