package api

import (
	"io"
	"net/http"
	"strings"

	"github.com/tidegate/tidegate/dashboard"
)

// Health tells programs whether the gateway is well: unwell why the buffer takes no
// readings, unready why they do not come in yet. Both are answered 200 with "ok", or
// 503 with a sentence a line.
func Health(unwell, unready func() []string) []dashboard.Route {
	route := func(path string, why func() []string) dashboard.Route {
		return dashboard.Route{Pattern: "GET " + path, Access: dashboard.Open, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			header := w.Header()
			header.Set("Content-Type", "text/plain; charset=utf-8")
			header.Set("Cache-Control", "no-store")
			lines := why()
			if len(lines) > 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
			} else {
				lines = []string{dashboard.OK}
			}
			_, _ = io.WriteString(w, strings.Join(lines, "\n")+"\n") // a caller that went away needs no answer
		})}
	}
	return []dashboard.Route{route("/healthz", unwell), route("/readyz", unready)}
}

// Metrics answers those who watch the gateway over time.
func Metrics(serve http.HandlerFunc) []dashboard.Route {
	return []dashboard.Route{look("GET /metrics", serve)}
}
