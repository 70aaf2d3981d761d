package netcheck

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Dial is how a check reaches the network.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// questionTime bounds a question that a check asks beside the way.
const questionTime = 5 * time.Second

// OfLogin is about a network that wants a login first, at the page where, before it
// lets anybody through to address.
func OfLogin(address, where string) Finding {
	return Wrong("open any page in a browser on this network and log in, or have who runs it let the gateway through",
		"this network wants a login first: instead of %s its own page answers (%s)", address, where)
}

// OfTalk is about an answer to somebody who does not speak HTTP, or does, but not with
// a page like that: false if there is nothing odd about it. head is the beginning of
// what was answered without TLS, speaksHTTP says whether a web server is expected.
func OfTalk(address string, head []byte, speaksHTTP bool) (Finding, bool) {
	if !bytes.HasPrefix(head, []byte("HTTP/")) {
		return Finding{}, false
	}
	host, _, _ := net.SplitHostPort(address)
	if where := LoginIn(head, host); where != "" {
		return OfLogin(address, where), true
	}
	if speaksHTTP {
		return Finding{}, false
	}
	return Wrong("check the port in the url; or does this network want a login first? Open any page in a browser there",
		"%s answers as a web server, which is not what should be there", address), true
}

// LoginIn looks whether an answer of HTTP is that of a network which wants a login
// first: it says so itself (511, RFC 6585), or sends whoever asks for host to another
// host. It returns where to; empty if it is not.
func LoginIn(answer []byte, host string) string {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	if err != nil {
		return ""
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusNetworkAuthenticationRequired {
		return "511 Network Authentication Required"
	}
	if resp.StatusCode < 300 || resp.StatusCode > 399 {
		return ""
	}
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || to.Hostname() == "" || related(to.Hostname(), host) {
		return ""
	}
	return quoted(to.Scheme + "://" + to.Host)
}

// related reports whether two hosts are of one house: equal, or alike in their last
// two labels. A site may well send on to its www.
func related(a, b string) bool {
	if net.ParseIP(a) != nil || net.ParseIP(b) != nil {
		return a == b
	}
	last := func(h string) string {
		labels := strings.Split(strings.ToLower(strings.TrimSuffix(h, ".")), ".")
		return strings.Join(labels[max(0, len(labels)-2):], ".")
	}
	return last(a) == last(b)
}

// AskLogin asks the host for its page without encryption, as nobody but a network
// that wants a login would answer with another. It returns where that wants one to
// go; empty if nothing of the kind was seen. A failure is no sign of anything.
func AskLogin(ctx context.Context, dial Dial, host string) string {
	answer := askWeb(ctx, func(ctx context.Context) (net.Conn, error) {
		return dial(ctx, "tcp", net.JoinHostPort(host, "80"))
	}, host)
	return LoginIn(answer, host)
}

// AskTime asks a web server behind TLS what its clock says. Nothing is believed that
// it says, and nothing said but the name of the host: the certificate is just what
// cannot be judged. Zero if it does not tell.
func AskTime(ctx context.Context, dial Dial, address, name string) time.Time {
	answer := askWeb(ctx, func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		secure := tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true}) // its clock is asked for, no more
		if err := secure.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, err
		}
		return secure, nil
	}, name)
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	if err != nil {
		return time.Time{}
	}
	resp.Body.Close()
	said, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return said
}

// askWeb sends a request for the head of a page, and returns the beginning of the
// answer; nil if there is none.
func askWeb(ctx context.Context, connect func(context.Context) (net.Conn, error), host string) []byte {
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	c, err := connect(ctx)
	if err != nil {
		return nil
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := fmt.Fprintf(c, "HEAD / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
		return nil
	}
	var answer []byte
	for len(answer) < maxHead && !bytes.Contains(answer, []byte("\r\n\r\n")) {
		part := make([]byte, maxHead-len(answer))
		n, err := c.Read(part)
		answer = append(answer, part[:n]...)
		if err != nil {
			break
		}
	}
	return answer
}
