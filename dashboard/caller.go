package dashboard

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/internal/login"
)

// Caller is who asks, as far as the server has found out.
type Caller struct {
	From login.From
	// Access is what he may do.
	Access Access
	// Session is the secret of his session, empty if he has none.
	Session string
	// Token is the name of the token that he showed.
	Token string
	// Secure says that he asks over TLS.
	Secure bool
	// Machine says that he has access to the machine itself, by way of a file on it.
	Machine bool

	grant  login.Grant
	cookie string // the name of the cookie that keeps Session
}

type callerKey struct{}

// CallerOf returns who asks. Who has come past no guard is nobody.
func CallerOf(r *http.Request) Caller {
	c, _ := r.Context().Value(callerKey{}).(Caller)
	return c
}

func (c Caller) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// FromMachine serves requests of whoever has access to the machine itself: they
// may do everything.
func FromMachine(h http.Handler) http.Handler {
	machine := Caller{From: login.From{Local: true}, Access: Operate, Machine: true}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(machine.in(r.Context())))
	})
}

// SetSession gives the browser the secret of a session to keep, or takes it away
// if that is empty.
func (c Caller) SetSession(w http.ResponseWriter, secret string) {
	cookie := http.Cookie{Name: c.cookie, Value: secret, Path: "/", HttpOnly: true, Secure: c.Secure, SameSite: http.SameSiteStrictMode}
	if secret == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, &cookie) // of no effect without a name
}

// cookieName has the gateway in it, because browsers keep the cookies of all
// ports of a machine together, and a technician has tunnels to several. Under
// the prefix, a browser takes it over TLS only, and from this host only.
func (s *Server) cookieName(secure bool) string {
	name := "tidegate-" + s.gateway
	if secure {
		return "__Host-" + name
	}
	return name
}

// callerOf finds out who asks. It returns false for somebody whose token is not
// valid.
func (s *Server) callerOf(r *http.Request) (c Caller, ok bool) {
	c = Caller{From: fromOf(r), Secure: r.TLS != nil, cookie: s.cookieName(r.TLS != nil)}
	if c.From.Local {
		c.Access = Look
	}
	if s.gate == nil {
		return c, true
	}
	if header := r.Header.Get("Authorization"); header != "" {
		secret, bearer := cutFold(header, "Bearer ")
		grant, valid := login.Grant{}, false
		if bearer {
			grant, valid = s.gate.Token(c.From, strings.TrimSpace(secret))
		}
		// Also on loopback: who shows something wrong wants to know.
		c.Access, c.Token, c.grant = Access(grant.Level), grant.Token, grant
		return c, valid
	}
	cookie, err := r.Cookie(c.cookie)
	if err != nil {
		return c, true
	}
	if grant, valid := s.gate.Session(cookie.Value); valid {
		c.Access, c.Session, c.grant = Access(grant.Level), cookie.Value, grant
	}
	return c, true
}

func cutFold(s, prefix string) (rest string, found bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return s[len(prefix):], true
}

// fromOf tells where a request comes from: from this machine only if both ends of
// the connection are here, and nothing says that somebody else is behind it. A
// proxy that says nothing of itself mostly speaks HTTP/1.0, which browsers do not.
func fromOf(r *http.Request) login.From {
	var from login.From
	if remote, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		from.Addr = remote.Addr().Unmap()
	}
	from.Proxied = !r.ProtoAtLeast(1, 1) || slices.ContainsFunc(proxyHeaders, func(h string) bool { return r.Header.Get(h) != "" })
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if tcp, ok := local.(*net.TCPAddr); ok {
		from.Local = !from.Proxied && from.Addr.IsLoopback() && tcp.IP.IsLoopback()
	}
	return from
}

// proxyHeaders are what proxies add.
var proxyHeaders = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"}
