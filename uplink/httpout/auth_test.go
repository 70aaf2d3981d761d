package httpout

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/uplink"
)

// guarded starts an endpoint that lets in whoever has the header, and returns its
// URL.
func guarded(t *testing.T, allowed func(r *http.Request) bool) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if !allowed(r) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.WriteString(w, ack)
	})
}

func TestPasswordAndTokenAreReadAgain(t *testing.T) {
	var want atomic.Pointer[string]
	set := func(s string) { want.Store(&s) }
	url := guarded(t, func(r *http.Request) bool {
		name, password, ok := r.BasicAuth()
		return ok && name == "gw" && password == *want.Load() || r.Header.Get("X-Api-Key") == *want.Load()
	})
	file := secret(t, "old")
	for name, auth := range map[string]Auth{
		"Password": {Username: "gw", PasswordFile: file},
		"Token":    {TokenFile: file, TokenHeader: "X-Api-Key", TokenScheme: NoScheme},
	} {
		write(t, file, "old")
		set("old")
		sink := newSink(t, Config{URL: url, Auth: auth})
		send := func() error { return sink.Send(t.Context(), message("application/json", []byte("{}"))) }
		if err := send(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		set("new")
		err := send()
		if delay, ok := uplink.RetryDelay(err); !ok || delay != time.Minute || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%s: a wrong secret: %v, want a minute's delay", name, err)
		}
		if strings.Contains(err.Error(), "old") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
		write(t, file, "new")
		if !eventually(func() bool { return send() == nil }) { // files are looked at once a second
			t.Fatalf("%s: the new secret is not used", name)
		}
	}
}

func TestSecretsThatCannotBeUsedAreRefused(t *testing.T) {
	file := secret(t, "s")
	for name, auth := range map[string]Auth{
		"NoFile":     {TokenFile: "/nowhere"},
		"Two":        {TokenFile: file, Username: "a", PasswordFile: file},
		"NoPassword": {Username: "a"},
		"NoUser":     {PasswordFile: file},
		"Colon":      {Username: "a:b", PasswordFile: file},
		"Header":     {TokenFile: file, TokenHeader: "X Y"},
		"Scheme":     {TokenFile: file, TokenScheme: "a\nb"},
		"NoID":       {OAuth: OAuth{TokenURL: "https://a/", ClientSecretFile: file}},
		"NoSecret":   {OAuth: OAuth{TokenURL: "https://a/", ClientID: "a"}},
		"InURL":      {OAuth: OAuth{TokenURL: "https://a:b@c/", ClientID: "a", ClientSecretFile: file}},
	} {
		if _, err := New(Config{URL: "https://a/", Auth: auth}); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// issuer is a token endpoint.
type issuer struct {
	mu       sync.Mutex
	issued   int           // tokens
	life     string        // of expires_in, as JSON
	asked    []url.Values  // forms, with user and password where Basic has them
	status   int           // 0: it issues
	answer   string        // with status
	hold     chan struct{} // closed: answers at once
	entering chan struct{} // told of each request, if not nil
}

func newIssuer() *issuer {
	held := make(chan struct{})
	close(held)
	return &issuer{life: "3600", hold: held}
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if i.entering != nil {
		i.entering <- struct{}{}
	}
	<-i.hold
	i.mu.Lock()
	defer i.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	if name, password, ok := r.BasicAuth(); ok {
		form.Set("basic", name+" "+password)
	}
	i.asked = append(i.asked, form)
	if i.status != 0 {
		w.WriteHeader(i.status)
		io.WriteString(w, i.answer)
		return
	}
	i.issued++
	fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"bearer","expires_in":%s}`, i.issued, i.life)
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.issued
}

func (i *issuer) config(t *testing.T, endpoint string) OAuth {
	return OAuth{TokenURL: endpoint, ClientID: "gate way", ClientSecretFile: secret(t, "s3cret&+")}
}

// TestTokenRequestIsThatOfTheRFC checks both ways to say who is asking.
func TestTokenRequestIsThatOfTheRFC(t *testing.T) {
	i := newIssuer()
	endpoint := serve(t, i.ServeHTTP)
	url := guarded(t, func(r *http.Request) bool { return strings.HasPrefix(r.Header.Get("Authorization"), "Bearer token-") })
	cfg := i.config(t, endpoint)
	cfg.Scopes, cfg.Audience = []string{"write", "read"}, "https://api"
	for n, inBody := range []bool{false, true} {
		cfg.InBody = inBody
		if err := newSink(t, Config{URL: url, Auth: Auth{OAuth: cfg}}).Send(t.Context(), message("application/json", []byte("{}"))); err != nil {
			t.Fatal(err)
		}
		want := `{"audience":["https://api"],"basic":["gate+way s3cret%26%2B"],"grant_type":["client_credentials"],"scope":["write read"]}`
		if inBody {
			want = `{"audience":["https://api"],"client_id":["gate way"],"client_secret":["s3cret\u0026+"],"grant_type":["client_credentials"],"scope":["write read"]}`
		}
		if got, _ := json.Marshal(i.asked[n]); string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestTokenIsKeptAndReplacedInTime: one request serves many senders, and the next
// comes shortly before the token's end.
func TestTokenIsKeptAndReplacedInTime(t *testing.T) {
	i := newIssuer()
	held := make(chan struct{})
	i.hold, i.entering = held, make(chan struct{}, 100)
	a, err := newTokens(i.config(t, serve(t, i.ServeHTTP)), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	var tasks sync.WaitGroup
	for range 20 {
		tasks.Go(func() {
			if c, err := a.header(t.Context()); err != nil || c.value != "Bearer token-1" {
				t.Errorf("%q, %v", c.value, err)
			}
		})
	}
	<-i.entering
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.header(ctx); err == nil {
		t.Error("a sender that gave up got a token that nobody has")
	}
	close(held)
	tasks.Wait()
	if i.count() != 1 {
		t.Errorf("%d tokens for 20 senders at once", i.count())
	}
	if left := time.Until(a.until); left < 58*time.Minute || left > 59*time.Minute {
		t.Errorf("a token of an hour is used for %v", left)
	}
	a.until = time.Now()
	if c, _ := a.header(t.Context()); c.value != "Bearer token-2" {
		t.Errorf("after its end: %q", c.value)
	}
}

func TestLifeOfATokenIsWhatItSays(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`{"access_token":"a","expires_in":60}`:                         time.Minute,
		`{"access_token":"a","expires_in":"90","token_type":"Bearer"}`: 90 * time.Second,
		`{"access_token":"a"}`:                                         unknownLife,
		`{"access_token":"a","expires_in":null}`:                       unknownLife,
		`{"access_token":"a","expires_in":-5}`:                         unknownLife,
		`{"access_token":"a","expires_in":1e30}`:                       longestLife,
		`{"access_token":""}`:                                          0,
		`{"access_token":"a b"}`:                                       0,
		`{"access_token":"a\r\nX: y"}`:                                 0,
		`{"access_token":"a","token_type":"mac"}`:                      0,
		`<html>log in</html>`:                                          0,
		``:                                                             0,
	} {
		token, life, err := readToken([]byte(text))
		if life != want || (err == nil) != (want > 0) || (token == "a") != (want > 0) {
			t.Errorf("%s: %q for %v, %v; want %v", text, token, life, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%s: no hint in %v", text, err)
		}
	}
}

// TestRefusedTokenIsReplacedOnce: a 401 gets one new token, and a second one is
// somebody's to correct.
func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	i := newIssuer()
	var good atomic.Pointer[string]
	set := func(s string) { good.Store(&s) }
	set("Bearer token-1")
	requests := atomic.Int32{}
	url := guarded(t, func(r *http.Request) bool {
		requests.Add(1)
		return r.Header.Get("Authorization") == *good.Load()
	})
	sink := newSink(t, Config{URL: url, Auth: Auth{OAuth: i.config(t, serve(t, i.ServeHTTP))}})
	send := func() error { return sink.Send(t.Context(), message("application/json", []byte("{}"))) }
	if err := send(); err != nil {
		t.Fatal(err)
	}
	set("Bearer token-2") // revoked
	if err := send(); err != nil || i.count() != 2 || requests.Load() != 3 {
		t.Errorf("%v after %d tokens and %d requests, want nil after 2 and 3", err, i.count(), requests.Load())
	}
	set("nothing")
	err := send()
	if delay, ok := uplink.RetryDelay(err); !ok || delay != time.Minute || i.count() != 3 || requests.Load() != 5 {
		t.Errorf("%v after %d tokens and %d requests, want a minute's delay after 3 and 5", err, i.count(), requests.Load())
	}
}

// TestTokenFailuresAreNeverTheMessages: whatever the token endpoint says, the
// readings wait, and nothing secret is in the error.
func TestTokenFailuresAreNeverTheMessages(t *testing.T) {
	for _, c := range []struct {
		status int
		answer string
		delay  time.Duration
		hint   string
	}{
		{401, `{"error":"invalid_client","error_description":"bad secret s3cret&+"}`, time.Minute, "client_secret_file"},
		{400, `{"error":"invalid_scope"}`, time.Minute, "check scopes"},
		{400, `{"error":"unsupported_grant_type"}`, time.Minute, "token_url"},
		{400, `s3cret&+`, time.Minute, "token_url"},
		{413, ``, time.Minute, ""},
		{404, `<html>`, time.Minute, "token_url"},
		{429, ``, 0, "busy"},
		{500, `{"error":"s3cret&+"}`, 0, "busy"},
		{302, ``, 0, "redirects"},
	} {
		i := newIssuer()
		i.status, i.answer = c.status, c.answer
		sink := newSink(t, Config{URL: "http://127.0.0.1:1/", Auth: Auth{OAuth: i.config(t, serve(t, i.ServeHTTP))}})
		err := sink.Send(t.Context(), message("application/json", []byte("{}")))
		delay, _ := uplink.RetryDelay(err)
		if err == nil || uplink.IsPermanent(err) || delay != c.delay || !strings.Contains(err.Error(), c.hint) || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%d %s: %v (delay %v), want %v and %q", c.status, c.answer, err, delay, c.delay, c.hint)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

// TestTokensLiveInVirtualTime follows a short-lived token over a day.
func TestTokensLiveInVirtualTime(t *testing.T) {
	file := secret(t, "s")
	synctest.Test(t, func(t *testing.T) {
		a, err := newTokens(OAuth{TokenURL: "http://issuer/", ClientID: "a", ClientSecretFile: file}, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		a.current, a.until = credential{"Authorization", "Bearer a"}, time.Now().Add(90*time.Second)
		time.Sleep(89 * time.Second)
		if c, err := a.header(t.Context()); err != nil || c.value != "Bearer a" {
			t.Errorf("a second before: %q, %v", c.value, err)
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // so that it asks nobody
		if c, err := a.header(ctx); err == nil {
			t.Errorf("after its time: %q", c.value)
		}
	})
}

// FuzzReadToken: no answer makes it panic, and no token that could not stand in a
// header is one.
func FuzzReadToken(f *testing.F) {
	f.Add([]byte(`{"access_token":"a","expires_in":60}`))
	f.Add([]byte(`{"access_token":"a\nb","expires_in":"x"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		token, life, err := readToken(text)
		if err == nil && (token == "" || strings.ContainsAny(token, "\r\n \x00") || life <= 0 || life > longestLife) {
			t.Errorf("%q gives %q for %v", text, token, life)
		}
	})
}

func TestUnreadFilesAreReported(t *testing.T) {
	told := make(chan error, 1)
	file := secret(t, "s")
	a, err := Auth{TokenFile: file, Unread: func(err error) {
		select {
		case told <- err:
		default:
		}
	}}.open(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool {
		if c, _ := a.header(t.Context()); c.value != "Bearer s" {
			t.Errorf("the token is %q", c.value)
		}
		return len(told) > 0
	}) {
		t.Error("nobody was told")
	}
}

// eventually reports whether something comes true soon.
func eventually(is func() bool) bool {
	for range 200 {
		if is() {
			return true
		}
		<-time.After(50 * time.Millisecond)
	}
	return false
}
