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
	"sync"
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

func TestTwoWhoSetUpAtOnceAreNotBothOperators(t *testing.T) {
	b := newBench(t)
	code := b.PrintedCode()
	var all sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		all.Go(func() { _, errs[i] = b.SetUp(t.Context(), phone, code, good) })
	}
	all.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		}
	}
	if done != 1 {
		t.Errorf("%d were told that they are: %v", done, errs)
	}
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

// A file that a bad card has damaged must not let in whoever comes next.
func TestDamagedOperatorFileIsForTheMachineItself(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "cut off": `{"version":1,"password":"quick`, "no hash": `{"version":1,"password":"hunter2"}`, "zeros": "\x00\x00\x00",
		"newer": `{"version":9,"password":"quick ` + strings.Repeat("a", 64) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := operated(t)
			b.write(operatorFile, text)
			for range 2 { // the second start finds no file at all
				b.restart()
				if _, err := b.SignIn(t.Context(), phone, good); err == nil || errors.Is(err, ErrWrong) {
					t.Errorf("sign-in: %v", err)
				}
				if _, err := b.SetUp(t.Context(), phone, b.PrintedCode(), good); !errors.Is(err, ErrNotFromHere) {
					t.Errorf("set-up from the network: %v", err)
				}
				if b.Stats().Spoiled == nil || !strings.Contains(b.log.String(), "nobody can sign in") {
					t.Error("it is not said")
				}
				if strings.Contains(b.log.String(), "hunter2") {
					t.Error("the log tells what is in the file")
				}
			}
			if b.file(operatorFile+setAside) != text {
				t.Error("the file is gone")
			}
			if _, err := b.SetUp(t.Context(), here, b.PrintedCode(), good); err != nil {
				t.Error(err)
			}
			b.restart()
			if _, err := b.SignIn(t.Context(), phone, good); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAFileThatCannotBeReadIsNoNewGateway(t *testing.T) {
	b := operated(t)
	path := filepath.Join(b.dir, operatorFile)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // reading it is an error for root, too
		t.Fatal(err)
	}
	b.restart()
	if _, err := b.SetUp(t.Context(), phone, b.PrintedCode(), good); !errors.Is(err, ErrNotFromHere) {
		t.Errorf("%v", err)
	}
	if _, err := b.SetUp(t.Context(), here, b.PrintedCode(), good); err == nil {
		t.Error("an operator who is forgotten by the next start")
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

func TestWhatTheDiskDoesNotTakeHasNotHappened(t *testing.T) {
	b := operated(t)
	secret, err := b.SignIn(t.Context(), phone, good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.AddToken(phone, "kept", Look); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(b.dir, b.dir+"~"); err != nil { // as good as a full disk
		t.Fatal(err)
	}
	_, addErr := b.AddToken(phone, "lost", Look)
	_, changeErr := b.ChangePassword(t.Context(), phone, good, "another horse battery")
	for what, err := range map[string]error{
		"password": changeErr, "machine": b.SetPassword(t.Context(), "another horse battery"), "add": addErr, "revoke": b.RevokeToken(phone, "kept"),
	} {
		if !errors.Is(err, ErrNotKept) || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, ok := b.Session(secret); !ok || len(b.Tokens()) != 1 {
		t.Errorf("session %v, tokens %v", ok, b.Tokens())
	}
	if _, err := b.SignIn(t.Context(), phone, good); err != nil {
		t.Errorf("the password is another one, until the next start: %v", err)
	}
	fresh := &bench{t: t, dir: filepath.Join(b.dir, "nowhere"), log: b.log}
	fresh.restart()
	if !strings.Contains(b.log.String(), "the set-up code could not be written down") || fresh.PrintedCode() == "" {
		t.Error("no code on a full disk, or it is not said that it changes")
	}
}

func BenchmarkSession(b *testing.B) {
	g := &Gate{config: Config{Now: time.Now}, sessions: make(map[digest]*session)}
	var secret string
	for range maxSessions {
		secret = g.newSession()
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := g.Session(secret); !ok {
			b.Fatal("not valid")
		}
	}
}

func BenchmarkToken(b *testing.B) {
	g := Open(Config{Dir: b.TempDir()}, slog.New(slog.DiscardHandler))
	var secret string
	for i := range maxTokens {
		var err error
		if secret, err = g.AddToken(here, "token-"+strings.Repeat("x", i%7)+string(rune('0'+i%10))+string(rune('a'+i/10)), Look); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := g.Token(here, secret); !ok {
			b.Fatal("not valid")
		}
	}
}

func FuzzCode(f *testing.F) {
	const real = "0123456789ABCDEFGHJKMNPQRS"
	f.Add(real)
	f.Add(code{text: real}.String())
	f.Add("O0o-IiLl1")
	f.Fuzz(func(t *testing.T, typed string) {
		read := strings.NewReplacer(" ", "", "-", "", "\t", "", "\r", "", "\n", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(typed))
		if c := (code{text: real}); c.is(typed) != (read == real && len(typed) <= 4*codeLength) || (code{}).is(typed) {
			t.Fatalf("%q", typed)
		}
		if n := len(plainCode(typed)); n > 3*len(typed) {
			t.Fatalf("%d bytes of %d", n, len(typed))
		}
	})
}

func FuzzOperatorFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"password":"hash","changed":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"version":1,"password":"hash"}{}`))
	path := filepath.Join(f.TempDir(), operatorFile)
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		parsed := ""
		o, err := readOperator(path, func(hashed string) (func([]byte) bool, error) {
			parsed = hashed
			return func([]byte) bool { return false }, nil
		})
		if (o == nil) == (err == nil) || o != nil && (o.Version != fileVersion || o.is == nil || parsed != o.Password) {
			t.Fatalf("%+v, %v", o, err)
		}
	})
}
