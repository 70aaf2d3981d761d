package daemon

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/dashboard"
)

// described is docs/reference/openapi.json, as far as it is looked at here.
type described struct {
	Paths map[string]map[string]struct {
		Summary    string           `json:"summary"`
		Access     string           `json:"x-access"`
		Security   []map[string]any `json:"security"`
		Parameters []struct{ Name, In string }
		Responses  map[string]any `json:"responses"`
	} `json:"paths"`
}

// OpenAPI and the reference name every route of a running gateway, say who may use
// it, and name no other.
func TestEveryRouteIsDescribed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "reference", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc described
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	d := newDaemon(t, "")
	routes := append(d.routes(), dashboard.StatusRoute(d.status),
		// of the page's own server
		dashboard.Route{Pattern: "GET /live", Access: dashboard.Look}, dashboard.Route{Pattern: "GET /events", Access: dashboard.Look},
		dashboard.Route{Pattern: "GET /api/v1/session", Access: dashboard.Open})
	for _, r := range routes {
		method, path, _ := strings.Cut(r.Pattern, " ")
		op, ok := doc.Paths[path][strings.ToLower(method)]
		if !ok {
			t.Errorf("openapi.json has no %s", r.Pattern)
			continue
		}
		delete(doc.Paths[path], strings.ToLower(method))
		if want := []string{"open", "look", "operate"}[r.Access]; op.Access != want || (len(op.Security) == 0) != (want == "open") {
			t.Errorf("%s is for %q with %v, want %q", r.Pattern, op.Access, op.Security, want)
		}
		if op.Summary == "" || len(op.Responses) < 2 {
			t.Errorf("%s says too little", r.Pattern)
		}
		for _, name := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
			if !slices.ContainsFunc(op.Parameters, func(p struct{ Name, In string }) bool { return p.Name == name[1] && p.In == "path" }) {
				t.Errorf("%s does not say what %s is", r.Pattern, name[1])
			}
		}
	}
	for path, left := range doc.Paths {
		if len(left) > 0 {
			t.Errorf("openapi.json has %s %v, and no gateway has", path, slices.Sorted(maps.Keys(left)))
		}
	}
	reference, err := os.ReadFile(filepath.Join("..", "docs", "reference", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		_, path, _ := strings.Cut(r.Pattern, " ")
		if last := path[strings.LastIndexByte(path, '/'):]; !strings.Contains(string(reference), path) && !strings.Contains(string(reference), "…"+last) && path != "/live" {
			t.Errorf("api.md does not name %s", path)
		}
	}
}
