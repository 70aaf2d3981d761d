package httpout

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/tidegate/tidegate/internal/httpjudge"
	"github.com/tidegate/tidegate/internal/netfault"
)

// Probe implements uplink.Prober. A tidegate cloud, or a database, is sent
// nothing at all, which tells whether it would let the gateway in: nothing is no
// reading. What another endpoint would make of nothing, nobody knows, so that is
// only connected to. A token is asked for in any case.
func (s *Sink) Probe(ctx context.Context) (string, error) {
	about, err := s.reach(ctx)
	if err != nil || s.cfg.TrustStatus && !s.cfg.Database {
		return about, err
	}
	contentType := packedType
	if s.cfg.Database {
		contentType = "text/plain; charset=utf-8"
	}
	resp, answer, err := s.authorized(ctx, "", contentType, nil)
	if err != nil {
		return "", err
	}
	if _, mine := explained(answer); mine || !understood(resp.StatusCode) {
		return "", verdict(resp, answer)
	}
	if isPage(resp, answer) { // neither a tidegate cloud nor a database has any
		return "", between(resp, answer)
	}
	if version := resp.Header.Get("X-Influxdb-Version"); version != "" {
		about = strings.Replace(about, " answers", " answers as InfluxDB "+printable(version), 1)
	}
	return about, nil
}

// understood says whether a status means that the gateway may send here: nothing
// may be refused for what it is.
func understood(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusLengthRequired:
		return true
	}
	return status >= 200 && status <= 299
}

func printable(s string) string {
	quoted := httpjudge.Quote(s)
	return quoted[1 : len(quoted)-1]
}

// reach connects, and no more than that.
func (s *Sink) reach(ctx context.Context) (string, error) {
	if _, err := s.auth.header(ctx); err != nil {
		return "", err
	}
	port := s.url.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[s.url.Scheme] // links know no names of ports
	}
	conn, err := s.transport.DialContext(ctx, "tcp", net.JoinHostPort(s.url.Hostname(), port))
	if err != nil {
		return "", netfault.Explain(err)
	}
	defer conn.Close()
	if s.url.Scheme == "http" {
		return s.url.Host + " answers, without encryption", nil
	}
	secure := s.cfg.TLS.Clone()
	if secure == nil {
		secure = new(tls.Config)
	}
	if secure.ServerName == "" {
		secure.ServerName = s.url.Hostname()
	}
	if err := tls.Client(conn, secure).HandshakeContext(ctx); err != nil {
		return "", fmt.Errorf("%s answers, but not safely: %w", s.url.Host, netfault.Explain(err))
	}
	return s.url.Host + " answers", nil
}
