package daemon

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/dashboard"
)

// unpack reads a bundle.
func unpack(t *testing.T, packed io.Reader) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name, ok := strings.CutPrefix(h.Name, "tidegate/")
		if !ok || strings.Contains(name, "..") || h.Mode != 0o600 {
			t.Errorf("%q with mode %o", h.Name, h.Mode)
		}
		files[name] = string(text)
	}
}

// request asks a route of the gateway, as the admin socket does.
func (d *Daemon) request(r *http.Request) *httptest.ResponseRecorder {
	mux := http.NewServeMux()
	for _, route := range append(d.routes(), dashboard.StatusRoute(d.status)) {
		mux.Handle(route.Pattern, route.Handler)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

// planted are secrets, by where they were hidden. None is a word.
type planted struct {
	*testing.T
	dir string
	all map[string]string
}

func (p *planted) secret(where string) string {
	s := fmt.Sprintf("Geheim%02d/+%x", len(p.all), 0xbeef00+len(p.all))
	p.all[where] = s
	return s
}

// token is a secret that a URL or a topic can hold.
func (p *planted) token(where string) string {
	s := fmt.Sprintf("a1B2c3D4e5F6g7H8i9%02d", len(p.all))
	p.all[where] = s
	return s
}

// file makes a file of secrets.
func (p *planted) file(name, text string) string {
	p.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.Fatal(err)
	}
	return path
}

// everyFile sets every key of the configuration that names a file with secrets, in
// structs as deep as they go, and one entry of each list.
func (p *planted) everyFile(path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key := f.Tag.Get("toml")
			where := strings.TrimPrefix(path+"."+key, ".")
			switch {
			case f.Type.Kind() == reflect.String && (strings.HasSuffix(key, "_file") || key == "tls_key"):
				line := p.secret(where)
				v.Field(i).SetString(p.file(fmt.Sprintf("file%d", len(p.all)), "name:"+line+"\nname "+p.secret(where+", second line")+" topic/#\n"+p.secret(where+", third line")+"\n"))
			case f.Type.Kind() == reflect.String && key == "username":
				v.Field(i).SetString(p.secret(where))
			default:
				p.everyFile(where, v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			p.everyFile(path, v.Index(0))
		}
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.New(v.Type().Elem()))
			p.everyFile(path, v.Elem())
		}
	}
}

// TestABundleHasNoSecrets hides secrets wherever a configuration can have them, has
// the log say all of them, and looks for them in the bundle.
func TestABundleHasNoSecrets(t *testing.T) {
	g := runGateway(t, "")
	p := &planted{T: t, dir: t.TempDir(), all: map[string]string{}}
	cfg := Default()
	p.everyFile("", reflect.ValueOf(&cfg).Elem())
	if len(p.all) < 40 {
		t.Fatalf("only %d places for secrets were found", len(p.all))
	}
	cfg.Gateway.Identify = []string{"/usr/bin/blink", "--key", p.secret("gateway.identify")}
	h := &cfg.Uplink.HTTP[0]
	h.URL = "https://" + p.token("user of a URL") + ":" + p.token("password of a URL") + "@cloud.example/api/v1/" + p.token("path of a URL") + "/telemetry?org=north&token=" + p.token("query of a URL") + "#" + p.token("fragment")
	h.Headers = []string{"X-Api-Key: " + p.secret("headers"), "Authorization: Bearer " + p.token("authorization")}
	cfg.Uplink.MQTT[0].Topic = "v1/" + p.token("topic") + "/telemetry"
	cfg.Ingest.Serial[0].Init = []byte("AT+CPIN=" + p.secret("init"))
	for _, secret := range p.all {
		g.log.Warn("a server has said: "+secret, "err", errors.New("no: "+secret), "url", "https://x/"+secret)
	}
	g.log.Info("what is no secret", "device", "boiler-3")

	files := g.bundle()
	var out bytes.Buffer
	if err := writeBundle(t.Context(), &out, cfg, files); err != nil {
		t.Fatal(err)
	}
	got := unpack(t, &out)
	for where, secret := range p.all {
		for name, text := range got {
			if strings.Contains(text, secret) {
				t.Errorf("%s has the secret of %s: %q", name, where, secret)
			}
		}
	}
	readme := got["README.txt"]
	for name, want := range map[string]string{
		"README.txt": "No passwords, tokens and keys", "config.toml": `url = "https://***@cloud.example/api/v1/***/telemetry?org=***&token=***"`,
		"status.json": `"gateway": "north-7"`, "metrics.txt": "tidegate_build_info{", "log.ndjson": "boiler-3",
		"buffer.json": `"segments"`, "goroutines.txt": "goroutine ", "version.txt": "tidegate " + Version, "network.txt": "lo ",
		"disks.txt": "free of", "memory.txt": "MemTotal", "serial.json": "[", "sticks.json": "[", "check.txt": " fine, ", "starts.txt": "",
	} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s does not say %q:\n%.2000s", name, want, got[name])
		}
		if !strings.Contains(readme, name) {
			t.Errorf("README.txt does not tell of %s", name)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("there are others: %q", got)
	}
}

// TestWordsEverybodyKnowsAreNotHidden: a password that is a word of the program
// itself must not make the bundle unreadable.
func TestWordsEverybodyKnowsAreNotHidden(t *testing.T) {
	var r redactor
	r.secrets = []string{"buffer", "tidegate", "x", "", "Tr0ub4dor", "Tr0ub4dor&3"}
	if got := r.scrubber().Replace("tidegate_buffer x Tr0ub4dor&3 Tr0ub4dor"); got != "tidegate_buffer x *** ***" {
		t.Errorf("got %q", got)
	}
	for text, want := range map[string]string{
		"temperature_sensor_1": "temperature_sensor_1", "site/{site}/dev/{device}/telemetry": "site/{site}/dev/{device}/telemetry",
		"application-2026-environment": "application-2026-environment", "v1/a1B2c3D4e5F6g7H8i9/x": "v1/***/x",
	} {
		if got := r.hideTokens(text); got != want {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

// TestTheConfigurationOfABundleIsOne: what is shown means what was configured, but
// for what is hidden.
func TestTheConfigurationOfABundleIsOne(t *testing.T) {
	for _, file := range glob(t, "*.good.toml") {
		cfg, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		shown := (&redactor{}).config(cfg)
		again, err := Parse("shown.toml", []byte(strings.ReplaceAll(string(shown), hidden, "hidden0")))
		if err != nil {
			t.Errorf("%s: %v\n%s", file, err, shown)
			continue
		}
		if !bytes.Contains(shown, []byte(hidden)) && !reflect.DeepEqual(again, cfg) {
			t.Errorf("%s is shown as\n%s", file, shown)
		}
	}
}

func TestABundleIsBounded(t *testing.T) {
	big := func(context.Context) ([]byte, error) { return bytes.Repeat([]byte("0123456789abcde\n"), 1<<17), nil }
	broken := func(context.Context) ([]byte, error) { return []byte("half\n"), errors.New("no such device") }
	var files []bundleFile
	for i := range 10 {
		files = append(files, bundleFile{fmt.Sprint("big", i), "much", big})
	}
	files = slices.Insert(files, 1, bundleFile{"broken", "what does not work", broken})
	var out bytes.Buffer
	if err := writeBundle(t.Context(), &out, Default(), files); err != nil {
		t.Fatal(err)
	}
	sum := 0
	got := unpack(t, &out)
	for name, text := range got {
		if sum += len(text); len(text) > maxBundleFile {
			t.Errorf("%s has %d bytes", name, len(text))
		}
	}
	if sum > maxBundle+1000 || len(got) != 13 || !strings.HasSuffix(got["big0"], "… cut off here\n") {
		t.Errorf("%d files of %d bytes", len(got), sum)
	}
	if got["broken"] != "half\nthis could not be told: no such device\n" {
		t.Errorf("what failed says %q", got["broken"])
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := writeBundle(ctx, io.Discard, Default(), files); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody wants it any more: %v", err)
	}
}

func TestABundleIsDownloadedUnderAName(t *testing.T) {
	g := runGateway(t, "")
	w := g.request(httptest.NewRequest(http.MethodGet, "/api/v1/bundle", nil))
	if got := w.Header().Get("Content-Disposition"); w.Code != http.StatusOK || !strings.HasPrefix(got, "attachment; filename=north-7-support-20") {
		t.Errorf("HTTP %d, %q", w.Code, got)
	}
	if files := unpack(t, w.Body); len(files) < 14 {
		t.Errorf("only %d files", len(files))
	}
}
