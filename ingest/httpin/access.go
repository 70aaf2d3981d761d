package httpin

import (
	"net"
	"net/http"
	"strings"
	"time"
)

// anybody is who publishes where nobody needs to say who he is.
var anybody = holder{}

// admit says who sends a request.
func (d *door) admit(r *http.Request) (*holder, *refusal) {
	if d.cfg.Authorize == nil && d.cfg.Tokens == nil {
		return &anybody, nil
	}
	user, password, basic := r.BasicAuth()
	if who := d.byToken(r, password); who != nil {
		return who, nil
	}
	if basic && d.cfg.Authorize != nil && d.cfg.Authorize(r.Context(), user, []byte(password)) {
		return &holder{name: user}, nil
	}
	d.stats.badLogins.Add(1)
	from, _, _ := net.SplitHostPort(r.RemoteAddr)
	if d.said.First(from, user, time.Now()) {
		d.log.Warn("http client has no valid token or password", "event", "login_refused", "remote", r.RemoteAddr, "user", user)
	}
	return nil, refuse(http.StatusUnauthorized, `send "Authorization: Bearer TOKEN", or a user's name and password`, "nobody here knows you")
}

// byToken looks for a token where clients put one: as bearers, as InfluxDB's
// clients, and as the password of whatever user.
func (d *door) byToken(r *http.Request, password string) *holder {
	if d.cfg.Tokens == nil {
		return nil
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") && !strings.EqualFold(scheme, "token") {
		token = password
	}
	return d.cfg.Tokens().find(strings.TrimSpace(token))
}
