package dashboard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/internal/login"
)

const (
	// policy lets the page load only what this server serves: no inline
	// script, no inline style, no frame around it.
	policy = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
	// sendBuffer bounds what the kernel keeps for a slow viewer, in bytes; by
	// default that may be 4 MB for each.
	sendBuffer = 64 << 10
	// closeGrace is how long Serve waits for requests that are being answered.
	closeGrace = 5 * time.Second
)

// Server is the HTTP side of the dashboard:
//
//	GET /               the page
//	GET /assets/...     its modules and its style sheet
//	GET /live           the WebSocket (LIVE.md)
//	GET /events         the same as server-sent events
//	GET /api/v1/status  Status as JSON
//	GET /api/v1/session Session as JSON
//
// and whatever [Server.Handle] is given: package api has the rest. A request must
// name the server by IP address, as localhost, or by a configured name: else a
// hostile web page could read the dashboard through a name that it makes
// resolve to the gateway (DNS rebinding).
type Server struct {
	hub   *Hub
	hosts []string
	log   *slog.Logger
	mux   *http.ServeMux
	// foreign refuses what other pages make a browser post here.
	foreign *http.CrossOriginProtection
	tls     *TLS // nil for none
	gate    *login.Gate
	gateway string
	// connections bounds those that are open, at the most.
	connections int
	// live counts open WebSockets, which http.Server forgets about.
	live sync.WaitGroup
}

// NewServer returns a Server that shows hub. hosts are the names, besides IP
// addresses and localhost, under which browsers may reach it.
func NewServer(hub *Hub, hosts []string, log *slog.Logger) *Server {
	s := &Server{hub: hub, log: log, mux: http.NewServeMux(), foreign: http.NewCrossOriginProtection(), connections: MaxConnections}
	for _, host := range hosts {
		s.hosts = append(s.hosts, canonical(host))
	}
	s.Handle(
		Route{"GET /live", Look, http.HandlerFunc(s.serveLive)},
		Route{"GET /events", Look, http.HandlerFunc(s.serveEvents)},
		StatusRoute(hub.status),
		Route{"GET /api/v1/session", Open, http.HandlerFunc(s.serveSession)},
	)
	for path, asset := range loadAssets() {
		s.Handle(Route{"GET " + path, Open, asset})
	}
	return s
}

// Handle serves more routes, each to who may use it. Call it before the first
// request.
func (s *Server) Handle(routes ...Route) {
	for _, route := range routes {
		s.mux.Handle(route.Pattern, s.guard(route))
	}
}

// Serve answers requests that arrive on listener until ctx ends; it closes the
// listener and returns when every request and every WebSocket has ended.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       boundSendBuffer,
		ConnState:         newCrowd(s.connections).change,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	if s.tls != nil {
		listener = secureListener{listener, s}
	}
	broken := make(chan error, 1)
	go func() { broken <- server.Serve(listener) }()
	var err error
	select {
	case err = <-broken:
	case <-ctx.Done():
		grace, release := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
		defer release()
		_ = server.Shutdown(grace) // what is left after the grace is cut off
		err = <-broken
	}
	_ = server.Close()
	cancel() // ends the WebSockets if it was the listener that broke
	s.live.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve dashboard: %w", err)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY") // for browsers that know no frame-ancestors
	header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	if s.tls != nil && s.tls.Vouched {
		header.Set("Strict-Transport-Security", "max-age=2592000")
	}
	if !s.allowed(r.Host) {
		s.note(login.ForeignHost, fromOf(r), "host", clipped(r.Host))
		http.Error(w, "the dashboard does not answer to this name — hint: use the gateway's IP address, or add the name to the dashboard's hosts", http.StatusForbidden)
		return
	}
	if err := s.foreign.Check(r); err != nil {
		s.note(login.ForeignOrigin, fromOf(r), "origin", clipped(r.Header.Get("Origin")))
		refuse(w, http.StatusForbidden, "another page may not use this gateway")
		return
	}
	s.mux.ServeHTTP(w, r)
}

// allowed reports whether the Host header names this server.
func (s *Server) allowed(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	host = canonical(strings.Trim(host, "[]"))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "localhost" || slices.Contains(s.hosts, host)
}

func canonical(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }
