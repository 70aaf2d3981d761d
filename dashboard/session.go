package dashboard

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/tidegate/tidegate/internal/login"
)

// Session is what anybody may know of who asks, and of the way in.
type Session struct {
	// SignedIn is true with a session, or a token.
	SignedIn bool        `json:"signed_in"`
	Access   login.Level `json:"access"`
	// Setup is done, or needed; Why says why it cannot be done from here.
	Setup string `json:"setup"`
	Why   string `json:"why,omitempty"`
	TLS   bool   `json:"tls"`
	// Fingerprint is the SHA-256 of the certificate, to be compared.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Wait is how many seconds no password and no code is taken.
	Wait int `json:"wait"`
}

// serveSession answers GET /api/v1/session.
func (s *Server) serveSession(w http.ResponseWriter, r *http.Request) {
	c := CallerOf(r)
	answer := Session{SignedIn: c.Session != "" || c.Token != "", Access: login.Level(c.Access), Setup: "done", TLS: c.Secure}
	if s.tls != nil && s.tls.Fingerprint != nil {
		answer.Fingerprint = s.tls.Fingerprint()
	}
	if s.gate != nil {
		state := s.gate.State(c.From)
		answer.Wait = int(state.Wait / time.Second)
		if !state.SetUp {
			answer.Setup = "needed"
		}
		if state.Why != nil {
			answer.Why = state.Why.Error()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(answer) // a caller that went away needs no answer
}
