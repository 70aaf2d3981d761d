package servertest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// InfluxDB starts InfluxDB 1, with a database called "tide". With User, that user
// may do everything. With TLS it speaks nothing else: "https" instead of "http".
func InfluxDB(t testing.TB, opts ...Option) *Server {
	t.Helper()
	return begin(t, kind{
		name: "InfluxDB", pack: "influxdb", programs: []string{"influxd"},
		plan: planInfluxDB, settle: settleInfluxDB,
	}, opts)
}

func planInfluxDB(e *engine) (plan, error) {
	scheme, greeting := httpOr(e)
	address, err := e.address(scheme)
	if err != nil {
		return plan{}, err
	}
	rpc, err := e.address("rpc")
	if err != nil {
		return plan{}, err
	}
	text := fmt.Sprintf(`reporting-disabled = true
bind-address = %q
[meta]
dir = "%[2]s/meta"
[data]
dir = "%[2]s/data"
wal-dir = "%[2]s/wal"
[monitor]
store-enabled = false
[http]
bind-address = %[3]q
auth-enabled = %[4]v
`, rpc, e.dir, address, e.options.user != "")
	if e.options.maxMessage > 0 {
		text += fmt.Sprintf("max-body-size = %d\n", e.options.maxMessage)
	}
	if e.options.authority != nil {
		text += fmt.Sprintf("https-enabled = true\nhttps-certificate = %q\nhttps-private-key = %q\n", e.options.pair.Cert, e.options.pair.Key)
	}
	config, err := e.write("influxdb.conf", text+strings.Join(e.options.lines, "\n")+"\n")
	return plan{
		argv:  []string{"influxd", "-config", config},
		env:   []string{"HOME=" + e.dir},
		ready: map[string]greet{scheme: greeting("/ping")},
	}, err
}

// httpOr returns the protocol of a server that speaks only one of HTTP and HTTPS.
func httpOr(e *engine) (scheme string, greeting func(path string) greet) {
	if e.options.authority == nil {
		return "http", greetHTTP
	}
	return "https", func(path string) greet { return overTLS(greetHTTP(path)) }
}

// settleInfluxDB makes the user, who must be the first and an administrator, and
// the database.
func settleInfluxDB(e *engine) error {
	scheme, _ := httpOr(e)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the certificate may be an expired one
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	var queries []string
	if o := e.options; o.user != "" {
		queries = append(queries, fmt.Sprintf("CREATE USER %q WITH PASSWORD '%s' WITH ALL PRIVILEGES", o.user, strings.ReplaceAll(o.password, "'", `\'`)))
	}
	for _, q := range append(queries, "CREATE DATABASE tide") {
		request, err := http.NewRequest(http.MethodPost, scheme+"://"+e.addrs[scheme]+"/query?"+url.Values{"q": {q}}.Encode(), nil)
		if err != nil {
			return err
		}
		request.SetBasicAuth(e.options.user, e.options.password)
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
		answer.Body.Close()
		if err != nil {
			return err
		}
		if answer.StatusCode != http.StatusOK || strings.Contains(string(text), `"error"`) {
			return errors.New(answer.Status + ": " + string(text))
		}
	}
	return nil
}
