package login

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTokenIsShownOnceAndLastsUntilItIsRevoked(t *testing.T) {
	b := operated(t)
	secret, err := b.AddToken(phone, "prometheus", Look)
	if err != nil {
		t.Fatal(err)
	}
	if len(secret) != len(tokenMark)+43 || strings.Contains(b.file(tokensFile), secret) || strings.Contains(b.log.String(), secret) {
		t.Errorf("%d characters, and: %s", len(secret), b.file(tokensFile))
	}
	b.restart()
	b.checkModes()
	grant, ok := b.Token(phone, secret)
	if !ok || grant.Level != Look || grant.Token != "prometheus" || !grant.Ends.IsZero() {
		t.Errorf("%+v, %v", grant, ok)
	}
	cut := false
	grant.Tie(func() { cut = true })
	if err := b.RevokeToken(phone, "prometheus"); err != nil || !cut {
		t.Errorf("%v, cut %v", err, cut)
	}
	if _, ok := b.Token(phone, secret); ok {
		t.Error("a token that was revoked is good")
	}
	b.restart()
	if _, ok := b.Token(phone, secret); ok {
		t.Error("a token that was revoked is good after a restart")
	}
	if err := b.RevokeToken(phone, "prometheus"); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
	for _, event := range []Event{TokenMade, TokenUsed, TokenRevoked} {
		if !strings.Contains(b.log.String(), "event="+string(event)) {
			t.Errorf("%s is not logged", event)
		}
	}
}

func TestOnlyTheTokenItselfIsGood(t *testing.T) {
	b := operated(t)
	secret, err := b.AddToken(phone, "a", Operate)
	if err != nil {
		t.Fatal(err)
	}
	session, err := b.SignIn(t.Context(), phone, good)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", "tg_", secret[:len(secret)-1], secret + " ", strings.ToUpper(secret), session, tokenMark + session, b.tokens[0].SHA256} {
		if _, ok := b.Token(phone, wrong); ok {
			t.Errorf("%q is good", wrong)
		}
	}
	if _, ok := b.Session(secret); ok {
		t.Error("a token is a session")
	}
}

func TestTokensHaveNamesAndABound(t *testing.T) {
	b := operated(t)
	for _, name := range []string{"", "two words", "a/b", "..", "ä", strings.Repeat("a", maxName+1), "a\nb"} {
		if _, err := b.AddToken(phone, name, Look); !errors.Is(err, ErrUnfit) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := b.AddToken(phone, "nothing", None); !errors.Is(err, ErrUnfit) {
		t.Errorf("%v", err)
	}
	for i := range maxTokens {
		if _, err := b.AddToken(phone, fmt.Sprint("token-", i), Look); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"token-7", "one-more"} {
		if _, err := b.AddToken(phone, name, Look); err == nil {
			t.Errorf("%s was made", name)
		}
	}
	if len(b.Tokens()) != maxTokens {
		t.Errorf("%d tokens", len(b.Tokens()))
	}
}

func TestDamagedTokensAreNoTokens(t *testing.T) {
	for _, text := range []string{"", "{}", `{"version":1,"tokens":[null]}`, `{"version":1,"tokens":[{"name":"a","access":"root","sha256":""}]}`,
		`{"version":1,"tokens":[{"name":"a","access":"look","sha256":"00"}]}`, `{"version":1,"tokens":[{"name":"a","sha256":"` + strings.Repeat("0", 64) + `"}]}`} {
		b := operated(t)
		secret, err := b.AddToken(phone, "a", Look)
		if err != nil {
			t.Fatal(err)
		}
		b.write(tokensFile, text)
		b.restart()
		if _, ok := b.Token(phone, secret); ok || len(b.Tokens()) != 0 || b.file(tokensFile+setAside) != text || !strings.Contains(b.log.String(), "set aside") {
			t.Errorf("%s: %v", text, b.Tokens())
		}
		if _, err := b.SignIn(t.Context(), phone, good); err != nil {
			t.Error(err)
		}
	}
}

func TestUseOfATokenIsWrittenOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := operated(t)
		secret, err := b.AddToken(phone, "a", Look)
		if err != nil {
			t.Fatal(err)
		}
		written := make(map[string]bool)
		for range 3 * 24 * 4 {
			if _, ok := b.Token(phone, secret); !ok {
				t.Fatal("not good")
			}
			written[b.file(tokensFile)] = true
			time.Sleep(15 * time.Minute)
		}
		if len(written) != 3 || time.Since(b.Tokens()[0].Used) > 2*time.Hour {
			t.Errorf("written %d times in 3 days, last used %v", len(written), b.Tokens()[0].Used)
		}
		if n := b.Stats().Events[TokenUsed]; n != 1 {
			t.Errorf("its first use is told %d times", n)
		}
	})
}

func FuzzTokensFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"tokens":[{"name":"a","access":"look","created":"2026-01-02T03:04:05Z","sha256":"` + strings.Repeat("0", 64) + `"}]}`))
	f.Add([]byte(`{"version":1,"tokens":[null,{}]}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		b := &bench{t: t, dir: dir}
		b.log = nil
		b.write(tokensFile, string(text))
		var list tokenList
		if load(dir+"/"+tokensFile, &list) != nil || list.check() != nil {
			return
		}
		for _, token := range list.Tokens {
			if token.Access != Look && token.Access != Operate || !isName(token.Name) {
				t.Fatalf("%+v", token)
			}
		}
	})
}
