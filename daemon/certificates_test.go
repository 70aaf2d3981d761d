package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/dashboard"
)

// everyCertificate is a configuration that shows one certificate wherever that can be
// done, but on the page.
func everyCertificate(t *testing.T, cert, key string) string {
	t.Helper()
	files := fmt.Sprintf("tls_cert = %q\ntls_key = %q\n", cert, key)
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte("pump 0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return `[ingest.http]
listen = "127.0.0.1:0"
token_file = "` + tokens + `"
` + files + `[[ingest.line]]
name = "plant"
listen = "127.0.0.1:0"
` + files + `[[uplink.http]]
name = "far"
url = "https://127.0.0.1:1/v1/ingest"
` + files + `[command]
allow = ["dev/+/set"]
[[command.http]]
name = "orders"
url = "https://127.0.0.1:1/v1/commands"
` + files
}

var everywhere = []string{"ingest.http", "ingest.line:plant", "uplink far", "commands from orders"}

// TestCheckLooksAtEveryCertificate: devices at the servers of large clouds log in with one
// of a year, and nobody is there when that is over.
func TestCheckLooksAtEveryCertificate(t *testing.T) {
	for days, want := range map[time.Duration]struct {
		level Level
		word  string
	}{-1: {Fail, "the certificate ended on"}, 29: {Warn, "the certificate ends on"}, 31: {OK, "the certificate is valid until"}} {
		cert, key := writeCertificate(t, t.TempDir(), "gw", time.Now().Add(days*24*time.Hour))
		cfg, err := Parse("test", []byte("[gateway]\nid = \"gw\"\ndata_dir = \""+t.TempDir()+"\"\n[dashboard]\n"+fmt.Sprintf("tls_cert = %q\ntls_key = %q\n", cert, key)+everyCertificate(t, cert, key)))
		if err != nil {
			t.Fatal(err)
		}
		for name, findings := range map[string][]Finding{
			"check": Check(t.Context(), cfg), "check -offline": CheckOffline(cfg), "a change": checkChange(t.Context(), Default(), cfg),
		} {
			for _, where := range append(everywhere, "dashboard") {
				at := slices.IndexFunc(findings, func(f Finding) bool { return strings.HasPrefix(f.What, where+": the certificate ") })
				if at < 0 {
					t.Errorf("%s: nothing of %s in %+v", name, where, findings)
					continue
				}
				expect(t, findings[at], want.level, where+": "+want.word)
			}
		}
	}
}

func TestStatusTellsOfCertificatesThatEnd(t *testing.T) {
	ends := time.Now().Add(29 * 24 * time.Hour).UTC()
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, "gw", ends)
	s := newSite(t)
	s.more = everyCertificate(t, cert, key)
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	s.startGateway()
	s.eventuallyStatus("all certificates are told of", func(st dashboard.Status) bool { return len(st.Certificates) == len(everywhere) })
	text := s.do(exitOK, "tidegate", "status", "-config", s.configFile())
	asJSON := s.do(exitOK, "tidegate", "status", "-json", "-config", s.configFile())
	page, day := readExposition(t, s.scrape()), ends.Format(time.DateOnly)
	for _, where := range everywhere {
		problem := where + ": the certificate ends on " + day + " — hint: have it renewed"
		for _, want := range []string{"! " + problem + "\n", where + " until " + day} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in\n%s", want, text)
			}
		}
		for _, want := range []string{strconv.Quote(problem), fmt.Sprintf(`"where": %q`, where), fmt.Sprintf(`"not_after": %d`, ends.Unix()*1000)} {
			if !strings.Contains(asJSON, want) {
				t.Errorf("%s is not in\n%s", want, asJSON)
			}
		}
		if got := page.samples[fmt.Sprintf("tidegate_certificate_not_after_timestamp_seconds{where=%q}", where)]; got != float64(ends.Unix()) {
			t.Errorf("the metric of %s is %v", where, got)
		}
	}
	writeCertificate(t, dir, "gw", ends.AddDate(1, 0, 0))
	s.eventuallyStatus("a new certificate is told of", func(st dashboard.Status) bool {
		return st.Certificates[0].NotAfter == ends.AddDate(1, 0, 0).Unix()*1000 && !slices.ContainsFunc(st.Problems, func(p string) bool { return strings.Contains(p, "certificate") })
	})
}

// A certificate that is renewed on disk is the one that is shown, and told of, also when
// another configuration runs by then. While its files are wrong, the one before is.
func TestRenewedCertificateIsToldOf(t *testing.T) {
	dir := t.TempDir()
	first, second := time.Now().Add(24*time.Hour), time.Now().Add(365*24*time.Hour)
	synctest.Test(t, func(t *testing.T) {
		cert, key := writeCertificate(t, dir, "gw", first)
		cfg := Config{Ingest: Ingest{MQTT: MQTT{Listen: "127.0.0.1:0", TLSCert: cert, TLSKey: key}}}
		next := func(old *generation) *generation {
			b := &builder{nil, &generation{cfg: cfg}, old}
			b.watchCertificates()
			return b.generation
		}
		ends := func(g *generation) int64 {
			all := g.certificateStatus()
			if len(all) != 1 || all[0].Where != "ingest.mqtt" {
				t.Fatalf("%+v", all)
			}
			return all[0].NotAfter / 1000
		}
		g := next(&generation{})
		if got := ends(g); got != first.Unix() {
			t.Errorf("it ends %v", time.Unix(got, 0))
		}
		if err := os.WriteFile(key, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if g = next(g); ends(g) != first.Unix() {
			t.Error("the one that is shown is not told of any more")
		}
		writeCertificate(t, dir, "gw", second)
		time.Sleep(time.Second)
		if ends(g) != second.Unix() || ends(next(g)) != second.Unix() {
			t.Error("it was renewed, and nobody is told")
		}
	})
}

func TestCertificatesThatLiveShortAreToldOfLate(t *testing.T) {
	day := func(n int64) int64 { return n * 24 * 3600 * 1000 }
	for _, c := range []struct {
		lives, left int64
		problem     string
	}{{365, 31, ""}, {365, 30, "ends on"}, {90, 29, ""}, {90, 22, "ends on"}, {1, 1, ""}, {365, -1, "ended on"}} {
		now := day(20_000)
		got := certificateProblems(dashboard.Status{Now: now + 1, Certificates: []dashboard.Certificate{{Where: "dashboard", NotBefore: now + day(c.left-c.lives), NotAfter: now + day(c.left)}}})
		if (len(got) == 0) != (c.problem == "") || len(got) > 0 && !strings.Contains(got[0], c.problem) {
			t.Errorf("%d of %d days: %q", c.left, c.lives, got)
		}
	}
}
