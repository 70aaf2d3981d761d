package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/tidegate/tidegate/internal/login"
)

// Admit lets the gate decide who may do what, gateway being the gateway's name.
// Without it, nobody may operate, and only this machine itself may look. Call it
// before the first request.
func (s *Server) Admit(gate *login.Gate, gateway string) { s.gate, s.gateway = gate, gateway }

// guard lets through who may use the route, and ends what he does with it when
// his session ends.
func (s *Server) guard(route Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, known := s.callerOf(r)
		if route.Access > Open && !s.mayPass(w, r, route, c, known) {
			return
		}
		ctx, release := c.during(r.Context())
		defer release()
		route.Handler.ServeHTTP(w, r.WithContext(c.in(ctx)))
	})
}

// mayPass answers whom it does not let pass.
func (s *Server) mayPass(w http.ResponseWriter, r *http.Request, route Route, c Caller, known bool) bool {
	switch {
	case isForeign(r):
		s.note(login.ForeignOrigin, c.From, "origin", clipped(r.Header.Get("Origin")))
		refuse(w, http.StatusForbidden, "another page may not use this gateway")
		return false
	case known && c.Access >= route.Access:
		return true
	}
	s.note(login.Denied, c.From, "path", clipped(r.URL.Path))
	switch {
	case !known:
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		refuse(w, http.StatusUnauthorized, "this token is not valid — hint: \"tidegate token ls\" lists those that are")
	case c.Token != "" || c.Session != "":
		refuse(w, http.StatusForbidden, "this may be looked at, and not touched — hint: use a token with the access operate")
	default:
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "who are you? — hint: sign in on the page, or send a token that \"tidegate token add\" makes")
	}
	return false
}

// refuse answers as package api does.
func refuse(w http.ResponseWriter, status int, text string) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text}) // a caller that went away needs no answer
}

func (s *Server) note(event login.Event, from login.From, args ...any) {
	if s.gate != nil {
		s.gate.Note(event, from, args...)
	}
}

// clipped keeps what a stranger has sent short in the log, which quotes it.
func clipped(s string) string { return s[:min(len(s), 100)] }

// isForeign says that a page from elsewhere asks. That it may not read the answer
// is the browser's business; that it takes nobody's place is ours. Pictures, scripts
// and links have no Origin.
func isForeign(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || !strings.EqualFold(u.Host, r.Host)
}

// errSignedOut ends the requests of a session, or a token, that has ended.
var errSignedOut = errors.New("signed out")

// during is for as long as the caller may do what he does.
func (c Caller) during(ctx context.Context) (_ context.Context, release func()) {
	if c.Session == "" && c.Token == "" {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	untie := c.grant.Tie(func() { cancel(errSignedOut) })
	stop := func() {}
	if ends := c.grant.Ends; !ends.IsZero() {
		ctx, stop = context.WithDeadlineCause(ctx, ends, errSignedOut)
	}
	return ctx, func() {
		untie()
		stop()
		cancel(nil)
	}
}
