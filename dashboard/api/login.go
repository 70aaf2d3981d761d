package api

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/login"
)

// maxSecrets bounds a request that signs in, in bytes.
const maxSecrets = 8 << 10

func open(pattern string, handle http.HandlerFunc) dashboard.Route {
	return dashboard.Route{Pattern: pattern, Access: dashboard.Open, Handler: handle}
}

// secrets is what is shown to become, or be, the operator.
type secrets struct {
	Code     string `json:"code"`
	Password string `json:"password"`
	Old      string `json:"old"`
}

// Login sets up an operator, signs him in and out, and makes and revokes tokens.
func Login(g *login.Gate) []dashboard.Route {
	// enter answers a request that ends in another session than it began with.
	enter := func(change func(*http.Request, dashboard.Caller, secrets) (string, error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			c := dashboard.CallerOf(r)
			var s secrets
			err := Read(w, r, maxSecrets, &s)
			secret := ""
			if err == nil {
				secret, err = change(r, c, s)
			}
			if err == nil {
				g.SignOut(c.From, c.Session)
				c.SetSession(w, secret)
			}
			answerLogin(w, struct{}{}, err)
		}
	}
	return append([]dashboard.Route{
		open("POST /api/v1/setup", enter(func(r *http.Request, c dashboard.Caller, s secrets) (string, error) {
			return g.SetUp(r.Context(), c.From, s.Code, s.Password)
		})),
		open("POST /api/v1/login", enter(func(r *http.Request, c dashboard.Caller, s secrets) (string, error) {
			return g.SignIn(r.Context(), c.From, s.Password)
		})),
		open("POST /api/v1/logout", func(w http.ResponseWriter, r *http.Request) {
			c := dashboard.CallerOf(r)
			g.SignOut(c.From, c.Session)
			c.SetSession(w, "")
			Answer(w, struct{}{}, nil)
		}),
		operate("POST /api/v1/password", enter(func(r *http.Request, c dashboard.Caller, s secrets) (string, error) {
			if c.Token != "" {
				return "", errTokens
			}
			return g.ChangePassword(r.Context(), c.From, s.Old, s.Password)
		})),
	}, tokenRoutes(g)...)
}

// errTokens keeps a token that was stolen from living on in others.
var errTokens = refused{errors.New("a token may not do this — hint: sign in as the operator"), http.StatusForbidden}

// AddToken is the body of POST /api/v1/tokens, and with Token its answer.
type AddToken struct {
	Name   string      `json:"name"`
	Access login.Level `json:"access"`
	// Token is told this once.
	Token string `json:"token,omitempty"`
}

func tokenRoutes(g *login.Gate) []dashboard.Route {
	operator := func(pattern string, do func(w http.ResponseWriter, r *http.Request, from login.From) (any, error)) dashboard.Route {
		return operate(pattern, func(w http.ResponseWriter, r *http.Request) {
			c := dashboard.CallerOf(r)
			if c.Token != "" {
				Answer(w, nil, errTokens)
				return
			}
			value, err := do(w, r, c.From)
			answerLogin(w, value, err)
		})
	}
	return []dashboard.Route{
		operator("GET /api/v1/tokens", func(http.ResponseWriter, *http.Request, login.From) (any, error) {
			return g.Tokens(), nil
		}),
		operator("POST /api/v1/tokens", func(w http.ResponseWriter, r *http.Request, from login.From) (any, error) {
			var t AddToken
			err := Read(w, r, maxSecrets, &t)
			if err == nil {
				t.Token, err = g.AddToken(from, t.Name, t.Access)
			}
			return t, err
		}),
		operator("DELETE /api/v1/tokens/{name}", func(_ http.ResponseWriter, r *http.Request, from login.From) (any, error) {
			return struct{}{}, g.RevokeToken(from, r.PathValue("name"))
		}),
	}
}

// SetupCode is the answer of POST /api/v1/setup-code.
type SetupCode struct {
	Code string `json:"code"`
	// Seconds is for how long it is good from now.
	Seconds     int    `json:"seconds"`
	Fingerprint string `json:"fingerprint,omitempty"`
}

// Machine is for who has access to the machine itself, and never on the page: it
// tells the set-up code, and replaces an operator without asking for his password.
// fingerprint is that of the certificate, "" without one.
func Machine(g *login.Gate, fingerprint func() string) []dashboard.Route {
	code := func(w http.ResponseWriter, err error) {
		var s SetupCode
		var good time.Duration
		if err == nil {
			s.Code, good, err = g.Code()
			s.Seconds, s.Fingerprint = int(good/time.Second), fingerprint()
		}
		answerLogin(w, s, err)
	}
	return []dashboard.Route{
		operate("POST /api/v1/setup-code", func(w http.ResponseWriter, _ *http.Request) { code(w, nil) }),
		operate("POST /api/v1/operator/reset", func(w http.ResponseWriter, _ *http.Request) { code(w, g.Reset()) }),
		operate("POST /api/v1/operator/password", func(w http.ResponseWriter, r *http.Request) {
			var s secrets
			err := Read(w, r, maxSecrets, &s)
			if err == nil {
				err = g.SetPassword(r.Context(), s.Password)
			}
			answerLogin(w, struct{}{}, err)
		}),
	}
}

// answerLogin gives the errors of package login their statuses.
func answerLogin(w http.ResponseWriter, value any, err error) {
	if late, ok := errors.AsType[*login.Delay](err); ok {
		w.Header().Set("Retry-After", strconv.Itoa(int(late.Wait/time.Second)))
		err = refused{err, http.StatusTooManyRequests}
	}
	switch {
	case errors.Is(err, login.ErrWrong), errors.Is(err, login.ErrNotFromHere):
		err = refused{err, http.StatusForbidden}
	case errors.Is(err, login.ErrUnfit):
		err = Invalid(err)
	case errors.Is(err, login.ErrUnknown):
		err = NotFound(err)
	case errors.Is(err, login.ErrNotKept):
		err = Unavailable(err)
	}
	Answer(w, value, err)
}
