package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/certs"
)

const (
	// lanListen is every address of the machine, and the usual port of pages over TLS
	// that are not the machine's own.
	lanListen = ":8443"
	// lanWait is how long a gateway may take to start.
	lanWait = 30 * time.Second
	// maxURLs bounds what is printed of a machine with very many addresses.
	maxURLs = 8
)

// openLAN lets the page be reached from the network, over TLS, and says where.
func (c *initCall) openLAN(ctx context.Context) error {
	now, wrong := c.existing()
	if wrong != nil {
		return wrong
	}
	g, err := survey(c.file, now.Gateway.DataDir)
	if err != nil {
		return err
	}
	text, cfg, err := lanConfig(c.file, g.now, now)
	if err != nil {
		return err
	}
	changed := !reflect.DeepEqual(cfg, now)
	if changed {
		if err := c.do(initStep{c.file, func() error { return provision{config: text}.writeConfig(g) }}); err != nil {
			return err
		}
		fmt.Fprintf(c.stdout, "wrote %s\n", c.file)
	}
	restarted := false
	if changed && !c.not && c.file == defaultConfig {
		restarted = c.restart()
	}
	if changed && !restarted {
		fmt.Fprintln(c.stdout, "restart the gateway; \"tidegate init -lan\" says then where the page is")
		return nil
	}
	return c.invite(ctx, cfg, restarted)
}

// keyValue is a key and its value, as TOML writes it.
type keyValue struct{ key, value string }

// lanConfig returns a configuration with a page that others reach over TLS, and its text.
func lanConfig(file string, text []byte, now Config) ([]byte, Config, error) {
	want := now
	var set []keyValue
	if now.Dashboard.Listen == "" || now.Dashboard.homely() {
		want.Dashboard.Listen = lanListen
		set = append(set, keyValue{"listen", `"` + lanListen + `"`})
	}
	if !now.Dashboard.secure() {
		want.Dashboard.TLSGenerate = true
		set = append(set, keyValue{"tls_generate", "true"})
	}
	if text == nil {
		text = []byte(shippedConfig)
	}
	var err error
	// What is set later comes to stand above.
	for _, s := range slices.Backward(set) {
		if err == nil {
			text, err = setKey(text, "dashboard", s.key, s.value)
		}
	}
	got, wrong := Parse(file, withSecrets(file, text, nil))
	if err = errors.Join(err, wrong); err != nil || !reflect.DeepEqual(got, want) {
		return nil, now, errors.Join(fmt.Errorf("the page cannot be opened by itself here — hint: write listen = %q and tls_generate = true below [dashboard]", lanListen), err)
	}
	return text, got, nil
}

// restart restarts the gateway where systemd runs it.
func (c *initCall) restart() bool {
	const systemctl = "/usr/bin/systemctl"
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return false
	}
	p, err := os.StartProcess(systemctl, []string{systemctl, "try-restart", "tidegate.service"},
		&os.ProcAttr{Env: os.Environ(), Files: []*os.File{nil, os.Stderr, os.Stderr}})
	if err != nil {
		return false
	}
	state, err := p.Wait() // systemd has a time for it
	return err == nil && state.Success()
}

// invite prints where the page is, and what it takes to become its operator.
func (c *initCall) invite(ctx context.Context, cfg Config, patient bool) error {
	socket := cfg.Gateway.SocketPath()
	ctx, cancel := context.WithTimeout(ctx, lanWait)
	defer cancel()
	_, err := askStatus(ctx, socket)
	for again := time.NewTicker(200 * time.Millisecond); patient && err != nil && ctx.Err() == nil; <-again.C {
		_, err = askStatus(ctx, socket)
	}
	if err != nil {
		return err
	}
	urls := pageURLs(cfg.Dashboard.Listen, cfg.Dashboard.secure())
	fmt.Fprintln(c.stdout, "the page is at")
	for _, url := range urls {
		fmt.Fprintf(c.stdout, "  %s\n", url)
	}
	var s api.SetupCode
	refused := askAdmin(ctx, socket, http.MethodPost, "/api/v1/setup-code", nil, &s)
	if s.Fingerprint == "" && cfg.Dashboard.TLSGenerate {
		s.Fingerprint, _ = certs.OwnFingerprint(filepath.Join(cfg.Gateway.DataDir, ownCertificate)) // it says what the browser shows anyway
	}
	if s.Fingerprint != "" {
		fmt.Fprintf(c.stdout, "certificate SHA-256 %s\n", s.Fingerprint)
	}
	if refused != nil {
		fmt.Fprintf(c.stdout, "%v\n", refused) // it has an operator
		return nil
	}
	fmt.Fprintf(c.stdout, "set-up code %s, for %d minutes: %s#code=%s\n", s.Code, s.Seconds/60, urls[0], s.Code)
	return nil
}

// pageURLs are all addresses at which others find the page, at least one.
func pageURLs(listen string, secure bool) []string {
	first := pageURL(listen, secure)
	host, port, err := net.SplitHostPort(listen)
	if err != nil || !isWildcard(host) {
		return []string{first}
	}
	all := []string{first}
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		prefix, ok := a.(*net.IPNet)
		if !ok || !prefix.IP.IsGlobalUnicast() || len(all) == maxURLs {
			continue
		}
		scheme := "http://"
		if secure {
			scheme = "https://"
		}
		if url := scheme + net.JoinHostPort(prefix.IP.String(), port) + "/"; url != first {
			all = append(all, url)
		}
	}
	return all
}
