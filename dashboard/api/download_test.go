package api

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/dashboard"
)

func download(write func(io.Writer) error) []dashboard.Route {
	return []dashboard.Route{operate("GET /file", func(w http.ResponseWriter, _ *http.Request) {
		if Download(w, "north 7.chunks", "application/x", write) != nil {
			CutOff()
		}
	})}
}

func TestADownloadIsWholeOrCutOff(t *testing.T) {
	broken := errors.New("the disk is gone — hint: look for it")
	for name, c := range map[string]struct {
		write  func(io.Writer) error
		status int
		body   string
		cut    bool
	}{
		"whole": {func(w io.Writer) error { _, err := io.WriteString(w, "all of it"); return err }, 200, "all of it", false},
		"empty": {func(io.Writer) error { return nil }, 200, "", false},
		"none":  {func(io.Writer) error { return broken }, 409, `{"error":"the disk is gone — hint: look for it"}` + "\n", false},
		"half": {func(w io.Writer) error {
			_, err := io.WriteString(w, strings.Repeat("half", 10_000))
			return errors.Join(err, broken)
		}, 200, "", true},
	} {
		resp, err := http.Get(serve(t, download(c.write)...) + "/file")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status || c.cut != (err != nil) || !c.cut && string(body) != c.body {
			t.Errorf("%s: HTTP %d, %v: %.50s", name, resp.StatusCode, err, body)
		}
		if got := resp.Header.Get("Content-Disposition"); (c.status == 200) != (got == `attachment; filename="north 7.chunks"`) {
			t.Errorf("%s: Content-Disposition %q", name, got)
		}
	}
}

func TestHealthIsOkOrSaysWhy(t *testing.T) {
	sick := []string(nil)
	url := serve(t, Health(func() []string { return sick }, func() []string { return append(sick, "mqtt does not listen yet") })...)
	for _, c := range []struct {
		path   string
		sick   []string
		status int
		body   string
	}{
		{"/healthz", nil, 200, "ok\n"},
		{"/readyz", nil, 503, "mqtt does not listen yet\n"},
		{"/healthz", []string{"read-only file system"}, 503, "read-only file system\n"},
		{"/readyz", []string{"read-only file system"}, 503, "read-only file system\nmqtt does not listen yet\n"},
	} {
		sick = c.sick
		resp, err := http.Get(url + c.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status || string(body) != c.body || err != nil {
			t.Errorf("%s: HTTP %d %q, want %d %q", c.path, resp.StatusCode, body, c.status, c.body)
		}
	}
}
