package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// bill returns the bill of tidegate-cloud, as it is written. That is the program which
// is built soonest; test binaries do not say what they are made of.
func bill(t *testing.T) []byte {
	t.Helper()
	program := filepath.Join(t.TempDir(), "tidegate-cloud")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/tidegate-cloud").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := read(program, "1.2.3", "1790000000")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The rules are those that the schema of CycloneDX 1.6 states for what is used of it.
func TestBillKeepsTheRulesOfCycloneDX(t *testing.T) {
	text := bill(t)
	var b map[string]any
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	onlyKeys(t, "bom", b, "$schema bomFormat specVersion serialNumber version metadata components dependencies")
	if b["bomFormat"] != "CycloneDX" || b["specVersion"] != "1.6" || b["version"] != 1.0 {
		t.Errorf("it is %v %v, version %v", b["bomFormat"], b["specVersion"], b["version"])
	}
	matches(t, "serialNumber", b["serialNumber"], `^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	meta := b["metadata"].(map[string]any)
	onlyKeys(t, "metadata", meta, "timestamp component")
	if _, err := time.Parse(time.RFC3339, meta["timestamp"].(string)); err != nil {
		t.Error(err)
	}
	main := meta["component"].(map[string]any)
	if main["version"] != "1.2.3" || main["type"] != "application" {
		t.Errorf("the program is %v %v", main["type"], main["version"])
	}
	refs := []string{aComponent(t, main)}
	for _, c := range b["components"].([]any) {
		refs = append(refs, aComponent(t, c.(map[string]any)))
	}
	if sorted := slices.Sorted(slices.Values(refs)); len(slices.Compact(sorted)) != len(refs) {
		t.Error("a bom-ref is there twice")
	}
	var said []string
	for _, d := range b["dependencies"].([]any) {
		d := d.(map[string]any)
		onlyKeys(t, "dependency", d, "ref dependsOn")
		said = append(said, d["ref"].(string))
		uses, _ := d["dependsOn"].([]any)
		for _, u := range uses {
			if !slices.Contains(refs, u.(string)) {
				t.Errorf("%s depends on %s, which is no component", d["ref"], u)
			}
		}
	}
	if !slices.Equal(said, refs) {
		t.Errorf("dependencies are of\n%q, components are\n%q", said, refs)
	}
}

// aComponent checks a component and returns its bom-ref.
func aComponent(t *testing.T, c map[string]any) string {
	t.Helper()
	name, _ := c["name"].(string)
	onlyKeys(t, name, c, "type bom-ref name version scope hashes licenses purl pedigree properties")
	if !slices.Contains([]string{"application", "library"}, c["type"].(string)) || name == "" {
		t.Errorf("%q is a %v", name, c["type"])
	}
	if s, ok := c["scope"]; ok && s != "required" {
		t.Errorf("%s: scope %v", name, s)
	}
	matches(t, name+" purl", c["purl"], `^pkg:(golang|npm)/[a-z0-9./_-]+@[A-Za-z0-9.%_-]+(#[a-z/.-]+)?$`)
	hashes, _ := c["hashes"].([]any)
	for _, h := range hashes {
		h := h.(map[string]any)
		onlyKeys(t, name, h, "alg content")
		matches(t, name+" alg", h["alg"], `^SHA-256$`)
		matches(t, name+" content", h["content"], `^[0-9a-f]{64}$`)
	}
	licenses := c["licenses"].([]any)
	for _, l := range licenses {
		l := l.(map[string]any)
		if e, ok := l["expression"]; ok {
			onlyKeys(t, name, l, "expression")
			matches(t, name+" expression", e, `^[A-Za-z0-9.-]+( AND [A-Za-z0-9.-]+)+$`)
			continue
		}
		onlyKeys(t, name, l, "license")
		matches(t, name+" licence", l["license"].(map[string]any)["id"], `^(Apache-2\.0|MIT|ISC|BSD-[23]-Clause)$`)
	}
	if len(licenses) != 1 {
		t.Errorf("%s has %d licences: one, or one expression", name, len(licenses))
	}
	ref, _ := c["bom-ref"].(string)
	return ref
}

func onlyKeys(t *testing.T, what string, of map[string]any, keys string) {
	t.Helper()
	for k := range of {
		if !slices.Contains(strings.Fields(keys), k) {
			t.Errorf("%s has %q, which there is not", what, k)
		}
	}
}

func matches(t *testing.T, what string, value any, pattern string) {
	t.Helper()
	if s, ok := value.(string); !ok || !regexp.MustCompile(pattern).MatchString(s) {
		t.Errorf("%s is %v, which does not match %s", what, value, pattern)
	}
}

// TestBillIsTheSameEveryTime: nothing in it but the program and the time it is given.
func TestBillIsTheSameEveryTime(t *testing.T) {
	if a, b := bill(t), bill(t); string(a) != string(b) {
		t.Errorf("first:\n%s\nthen:\n%s", a, b)
	}
}

// TestEveryModuleHasItsLicence: of all programs, and on paper, too.
func TestEveryModuleHasItsLicence(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if .Version}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}",
		"../../cmd/tidegate", "../../cmd/tidegate-cloud", "../../cmd/firmware-sim").Output()
	if err != nil {
		t.Fatal(err)
	}
	info := &debug.BuildInfo{Path: "x/cmd/tidegate", GoVersion: "go1.2.3"}
	seen := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 3 && !seen[f[0]] {
			seen[f[0]] = true
			info.Deps = append(info.Deps, &debug.Module{Path: f[0], Version: f[1]})
			hasLicence(t, f[0], f[2])
		}
	}
	all, err := parts(info)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range info.Deps {
		if want := "pkg:golang/" + strings.ToLower(m.Path) + "@" + m.Version; all[i].PURL != want || all[i].Name != m.Path {
			t.Errorf("%s: %+v, want %s", m.Path, all[i], want)
		}
	}
	for m := range modules() {
		if m != "std" && !seen[m] {
			t.Errorf("%s is in no program any more: take it out of the table and of packaging/debian/copyright", m)
		}
	}
}

// hasLicence holds the table, what the module says, and packaging/debian/copyright
// together.
func hasLicence(t *testing.T, module, dir string) {
	t.Helper()
	var said string
	files, _ := filepath.Glob(filepath.Join(dir, "LICENSE*"))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		said += strings.Join(strings.Fields(string(text)), " ")
	}
	// What only that licence says.
	words := map[string]string{
		"MIT": "Permission is hereby granted, free of charge", "ISC": "Permission to use, copy, modify, and distribute this software for any purpose",
		"Apache-2.0": "Apache License Version 2.0", "BSD-2-Clause": "this list of conditions and the following disclaimer in the documentation",
		"BSD-3-Clause": "Neither the name of",
	}
	paper, err := os.ReadFile("../debian/copyright")
	if err != nil {
		t.Fatal(err)
	}
	_, stanza, ok := strings.Cut(string(paper), "Files: modules/"+module+"/*\n")
	stanza, _, _ = strings.Cut(stanza, "\n\n")
	if !ok {
		t.Errorf("packaging/debian/copyright does not tell of %s", module)
	}
	for id := range strings.SplitSeq(modules()[module], " AND ") {
		if !strings.Contains(said, words[id]) {
			t.Errorf("%s is said to be under %s; its LICENSE does not say so", module, id)
		}
		if debian := strings.ReplaceAll(id, "MIT", "Expat"); !regexp.MustCompile(`(?m)^License: .*\b`+debian+`\b`).MatchString(stanza) || !strings.Contains(string(paper), "\nLicense: "+debian+"\n") {
			t.Errorf("packaging/debian/copyright has no %s for %s, or not its text", debian, module)
		}
	}
	if !strings.Contains(modules()[module], "BSD-3-Clause") && strings.Contains(said, words["BSD-3-Clause"]) {
		t.Errorf("%s is said to be under %s; its LICENSE has a third clause", module, modules()[module])
	}
}

func TestUnknownLicenceIsAnError(t *testing.T) {
	info := &debug.BuildInfo{Path: "x/cmd/tidegate", GoVersion: "go1.2.3", Deps: []*debug.Module{{Path: "example.org/new", Version: "v1.0.0"}}}
	if _, err := parts(info); err == nil || !strings.Contains(err.Error(), "example.org/new") || !strings.Contains(err.Error(), " — hint: ") {
		t.Errorf("error %v", err)
	}
}

// TestPlotLibrary: only the gateway has it, in the version that its notice says.
func TestPlotLibrary(t *testing.T) {
	for program, want := range map[string]bool{"tidegate": true, "tidegate-cloud": false} {
		all, err := parts(&debug.BuildInfo{Path: "x/cmd/" + program, GoVersion: "go1.2.3 X:something"})
		if err != nil {
			t.Fatal(err)
		}
		has := slices.ContainsFunc(all, func(c component) bool { return c.PURL == "pkg:npm/uplot@"+uplot })
		if has != want || all[0].Version != "1.2.3" {
			t.Errorf("%s: %+v", program, all)
		}
	}
	notice, err := os.ReadFile("../../dashboard/assets/uplot/uplot.js")
	if err != nil || !strings.Contains(string(notice), "(v"+uplot+")") {
		t.Errorf("uplot.js is not version %s: %v", uplot, err)
	}
}

// TestBillPassesTheSchema has a library of CycloneDX's own look at it.
func TestBillPassesTheSchema(t *testing.T) {
	const install = "no cyclonedx-library: apt-get install nodejs npm && npm install --prefix packaging/sbom/schematest"
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip(install)
	}
	if _, err := os.Stat("schematest/node_modules/@cyclonedx/cyclonedx-library"); err != nil {
		t.Skip(install)
	}
	for what, tt := range map[string]struct {
		text string
		ok   bool
	}{
		"the bill":           {string(bill(t)), true},
		"a wrong serial":     {strings.Replace(string(bill(t)), "urn:uuid:", "urn:", 1), false},
		"a licence of no ID": {strings.Replace(string(bill(t)), `"id": "MIT"`, `"id": "MITT"`, 1), false},
	} {
		cmd := exec.Command("node", "schematest/validate.mjs")
		cmd.Stdin = strings.NewReader(tt.text)
		if out, err := cmd.CombinedOutput(); (err == nil) != tt.ok {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
}
