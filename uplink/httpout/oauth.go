package httpout

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/fresh"
	"github.com/tidegate/tidegate/internal/httpjudge"
	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
)

// OAuth asks for tokens with the client credentials grant (RFC 6749 §4.4). A
// token is kept until shortly before it expires, or until it is refused.
type OAuth struct {
	// TokenURL is the token endpoint, http or https.
	TokenURL string
	// ClientID and the content of ClientSecretFile say who is asking.
	ClientID, ClientSecretFile string
	// Scopes are asked for, if there are any.
	Scopes []string
	// Audience names the endpoint that the token is for, where the token
	// endpoint wants to know (it is no part of the RFC).
	Audience string
	// InBody sends id and secret in the body of the request instead of with
	// Basic (client_secret_post instead of client_secret_basic).
	InBody bool
}

// Bounds of tokens.
const (
	// early is how long before its end a token is replaced, if it lives long
	// enough for that; a tenth of its life otherwise.
	early = time.Minute
	// unknownLife is how long a token is used that does not say when it ends.
	unknownLife = time.Hour
	// longestLife bounds what a token says.
	longestLife = 30 * 24 * time.Hour
	maxToken    = 64 << 10
)

// tokens is the authorizer that asks for tokens.
type tokens struct {
	cfg       OAuth
	url       *url.URL
	secret    *fresh.Value[string]
	transport *http.Transport
	turn      chan struct{} // holds one element: the right to touch the rest
	current   credential
	until     time.Time
}

func newTokens(cfg OAuth, unread func(error), dial uplink.Dial, secure *tls.Config) (*tokens, error) {
	u, err := endpoint("token_url", cfg.TokenURL)
	if err != nil {
		return nil, err
	}
	if cfg.ClientID == "" || cfg.ClientSecretFile == "" {
		return nil, errors.New("http uplink: client credentials are missing — hint: set client_id and client_secret_file")
	}
	secret, err := openSecret(cfg.ClientSecretFile, unread, func(s string) string { return s })
	if err != nil {
		return nil, err
	}
	if secure = secure.Clone(); secure != nil {
		secure.ServerName = u.Hostname() // the one it has is that of the endpoint
	}
	t := &tokens{cfg: cfg, url: u, secret: secret, turn: make(chan struct{}, 1)}
	t.transport = newTransport(Config{Dial: dial, TLS: secure})
	t.transport.DisableKeepAlives = true // once an hour
	t.turn <- struct{}{}
	return t, nil
}

func (t *tokens) close() { t.transport.CloseIdleConnections() }

// header returns the token, a new one if need be. One request for it is under way
// at a time; all others wait for its answer.
func (t *tokens) header(ctx context.Context) (credential, error) {
	select {
	case <-t.turn:
	case <-ctx.Done():
		return credential{}, fmt.Errorf("token: %w", ctx.Err())
	}
	defer func() { t.turn <- struct{}{} }()
	if t.current.name != "" && time.Now().Before(t.until) {
		return t.current, nil
	}
	t.current = credential{}
	asked := time.Now()
	token, life, err := t.ask(ctx)
	if err != nil {
		return credential{}, fmt.Errorf("token from %s: %w", t.url.Host, err)
	}
	t.current = credential{"Authorization", "Bearer " + token}
	t.until = asked.Add(life - min(early, life/10))
	return t.current, nil
}

// refused forgets the token, if it is still the current one.
func (t *tokens) refused(ctx context.Context, c credential) bool {
	select {
	case <-t.turn:
	case <-ctx.Done():
		return false
	}
	defer func() { t.turn <- struct{}{} }()
	if t.current == c {
		t.current = credential{}
	}
	return true
}

// ask requests a token. Its errors never hold what was sent or answered, except
// for the words that the answer has for errors.
func (t *tokens) ask(ctx context.Context) (token string, life time.Duration, err error) {
	secret := t.secret.Get()
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(t.cfg.Scopes) > 0 {
		form.Set("scope", strings.Join(t.cfg.Scopes, " "))
	}
	if t.cfg.Audience != "" {
		form.Set("audience", t.cfg.Audience)
	}
	if t.cfg.InBody {
		form.Set("client_id", t.cfg.ClientID)
		form.Set("client_secret", secret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if !t.cfg.InBody {
		req.SetBasicAuth(url.QueryEscape(t.cfg.ClientID), url.QueryEscape(secret)) // RFC 6749 §2.3.1
	}
	resp, err := t.transport.RoundTrip(req)
	if err != nil {
		return "", 0, netfault.Explain(err)
	}
	text, err := answerOf(resp, maxToken)
	if err != nil {
		return "", 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return "", 0, judgeToken(resp, text, secret)
	}
	return readToken(text)
}

// judgeToken says what an answer without a token means. It is never held against
// the message.
func judgeToken(resp *http.Response, text []byte, secret string) error {
	v := httpjudge.Judge(resp.StatusCode, resp.Header, time.Now())
	var said struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	words := ""
	if json.Unmarshal(text, &said) == nil && said.Error != "" {
		words = strings.TrimSpace(said.Error + " " + said.Description)
		words = strings.ReplaceAll(words, secret, "***")
	}
	hint := v.Hint
	switch said.Error {
	case "invalid_client", "unauthorized_client":
		hint = "check client_id and client_secret_file, and whether the endpoint wants them in the body"
	case "invalid_scope", "invalid_target":
		hint = "check scopes and audience"
	case "unsupported_grant_type", "invalid_request":
		hint = "check token_url, scopes and audience: the endpoint must grant tokens for client credentials"
	default:
		if v.Class == httpjudge.Permanent || v.Class == httpjudge.Configuration {
			hint = "check token_url, client_id and client_secret_file"
		}
	}
	err := errors.New(httpjudge.Describe(resp.StatusCode, []byte(words)) + " — hint: " + hint)
	switch {
	case v.Class == httpjudge.Transient && v.Delay > 0:
		return uplink.RetryAfter(err, v.Delay)
	case v.Class == httpjudge.Transient:
		return err
	}
	return uplink.Misconfigured(err)
}

// readToken reads the answer with a token (RFC 6749 §5.1).
func readToken(text []byte) (token string, life time.Duration, err error) {
	var answer struct {
		Token   string      `json:"access_token"`
		Type    string      `json:"token_type"`
		Expires json.Number `json:"expires_in"` // a text, too, with some
	}
	const hint = " — hint: check token_url; is a login page or a proxy in between?"
	switch err := json.Unmarshal(text, &answer); {
	case err != nil:
		return "", 0, errors.New("the answer is no token in JSON" + hint)
	case answer.Token == "" || strings.ContainsFunc(answer.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", 0, errors.New("the answer holds no token that could be sent" + hint)
	case answer.Type != "" && !strings.EqualFold(answer.Type, "bearer"):
		err := fmt.Errorf("tokens of the type %s are not understood — hint: let the endpoint give bearer tokens", httpjudge.Quote(answer.Type))
		return "", 0, uplink.Misconfigured(err)
	}
	life = unknownLife
	if seconds, err := strconv.ParseFloat(answer.Expires.String(), 64); err == nil && seconds > 0 {
		life = time.Duration(min(seconds, longestLife.Seconds()) * float64(time.Second))
	}
	return answer.Token, life, nil
}
