package login

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A file that a bad card has damaged must not let in whoever comes next.
func TestDamagedOperatorFileIsForTheMachineItself(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "cut off": `{"version":1,"password":"quick`, "no hash": `{"version":1,"password":"hunter2"}`, "zeros": "\x00\x00\x00",
		"of no version": `{"version":0,"password":"quick ` + strings.Repeat("a", 64) + `"}`,
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
	f.Add("")
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
