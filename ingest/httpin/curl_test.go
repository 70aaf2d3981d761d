package httpin

import (
	"bytes"
	"compress/gzip"
	"os/exec"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// TestCurlsRequestsAreTaken uses the client that every example in the world is
// written for, also in ways that Go's has not: Expect: 100-continue, chunks.
func TestCurlsRequestsAreTaken(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed: apt-get install curl")
	}
	cfg := config(t)
	tokens, err := ParseTokens([]byte("pump 0123456789abcdef\n"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Tokens = func() *Tokens { return tokens }
	w := start(t, cfg)
	var gzipped bytes.Buffer
	zip := gzip.NewWriter(&gzipped)
	zip.Write([]byte(`{"temp":21.5}`))
	zip.Close()
	url := w.url + "/v1/readings/pump/1"
	for name, c := range map[string]struct {
		args  []string
		stdin string
		want  string
	}{
		"plain":     {[]string{"-H", "Authorization: Bearer 0123456789abcdef", "-d", `{"temp":21.5}`, url}, "", `{"readings":1}201`},
		"user":      {[]string{"-u", "pump:0123456789abcdef", "-d", `{"temp":21.5}`, url}, "", `{"readings":1}201`},
		"gzip":      {[]string{"-u", "pump:0123456789abcdef", "-H", "Content-Encoding: gzip", "--data-binary", "@-", url}, gzipped.String(), `{"readings":1}201`},
		"chunked":   {[]string{"-u", "pump:0123456789abcdef", "-H", "Transfer-Encoding: chunked", "-T", "-", url}, `{"temp":21.5}`, `{"readings":1}201`},
		"continue":  {[]string{"-u", "pump:0123456789abcdef", "-H", "Expect: 100-continue", "-d", `{"temp":21.5}`, url}, "", `{"readings":1}201`},
		"stranger":  {[]string{"-d", `{"temp":21.5}`, url}, "", `{"error":"nobody here knows you"`},
		"file, 413": {[]string{"-u", "pump:0123456789abcdef", "--data-binary", "@-", url}, strings.Repeat(" ", 1<<20) + "1", `{"error":"the body is larger`},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), curl, append([]string{"-sS", "-w", "%{http_code}"}, c.args...)...)
			cmd.Stdin = strings.NewReader(c.stdin)
			out, err := cmd.CombinedOutput()
			if got := strings.ReplaceAll(string(out), "\n", ""); err != nil || !strings.HasPrefix(got, c.want) {
				t.Errorf("%v: %s, want %s", err, got, c.want)
			}
		})
	}
	for _, r := range w.custody.Taken(t, 5) {
		if r.Device != "pump/1" || r.Value != reading.Float(21.5) {
			t.Errorf("%+v", r)
		}
	}
}
