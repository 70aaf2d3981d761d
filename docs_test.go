package tidegate_test

import (
	"bytes"
	"go/ast"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/daemon"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// Documents that are too long are not read.
var longest = map[string]int{
	"README.md":               150,
	"docs/understand/WALK.md": 150,
	"docs/decisions/":         40,
}

// document is one Markdown file.
type document struct {
	path  string
	lines []string
}

func documents(t *testing.T) []document {
	t.Helper()
	var all []document
	for _, name := range load(t).files {
		if path.Ext(name) != ".md" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, document{name, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")})
	}
	return all
}

// fenced returns the lines within fences that are marked with the language, or
// within all of them.
func (d document) fenced(language string) []string {
	var lines []string
	in, wanted := false, false
	for _, line := range d.lines {
		mark, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && in:
			in = false
		case fence:
			in, wanted = true, language == "" || mark == language
		case in && wanted:
			lines = append(lines, line)
		}
	}
	return lines
}

// commands returns the lines that somebody types: of blocks for a shell, whoever
// runs them, and behind the prompts of those that show what is printed.
func (d document) commands() []string {
	var lines []string
	for _, mark := range []string{"sh", "sh root", "sh build", "sh hardware", "sh abroad"} {
		lines = append(lines, d.fenced(mark)...)
	}
	for _, line := range d.fenced("console") {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			lines = append(lines, command)
		}
	}
	return lines
}

// prose calls f for every line outside fences, with the package that the last
// heading names, or else that the document lies in.
func (d document) prose(packages []string, f func(scope, line string)) {
	scope := ""
	if slices.Contains(packages, path.Dir(d.path)) {
		scope = path.Dir(d.path)
	}
	in := false
	for _, line := range d.lines {
		if strings.HasPrefix(line, "```") {
			in = !in
		}
		if in {
			continue
		}
		if strings.HasPrefix(line, "#") {
			for _, s := range spans(line) {
				if slices.Contains(packages, s) {
					scope = s
				}
			}
		}
		f(scope, line)
	}
}

var span = regexp.MustCompile("`([^`]+)`")

// spans returns what stands in backticks.
func spans(line string) []string {
	var all []string
	for _, m := range span.FindAllStringSubmatch(line, -1) {
		all = append(all, m[1])
	}
	return all
}

func TestDocumentsAreShort(t *testing.T) {
	for _, d := range documents(t) {
		for prefix, most := range longest {
			if strings.HasPrefix(d.path, prefix) && len(d.lines) > most {
				t.Errorf("%s has %d lines: at most %d", d.path, len(d.lines), most)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	for _, d := range documents(t) {
		for _, line := range d.lines {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				if _, err := os.Stat(path.Join(path.Dir(d.path), m[1])); err != nil {
					t.Errorf("%s links to %s, which is not there", d.path, m[1])
				}
			}
		}
	}
}

var lineNumber = regexp.MustCompile(`\.(go|js|md|toml):[0-9]|#L[0-9]`)

func TestDocumentsNameNoLines(t *testing.T) {
	for _, d := range documents(t) {
		for _, line := range d.lines {
			if m := lineNumber.FindString(line); m != "" {
				t.Errorf("%s says %q: lines move, names stay", d.path, m)
			}
		}
	}
}

var (
	qualified = regexp.MustCompile(`^([a-z]\w*)\.([A-Z]\w*(?:\.\w+)?)(?:\(\))?$`) // reading.Reading, uplink.Sink.Send
	method    = regexp.MustCompile(`^\(\*?(?:(\w+)\.)?(\w+)\)\.(\w+)(?:\(\))?$`)  // (*Buffer).Accept, (*buffer.Cursor).Next
	function  = regexp.MustCompile(`^(\w+)\(\)$`)                                 // judge()
	testName  = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`)
)

// TestNamesInDocumentsExist checks what stands in backticks and looks like a
// name of our code.
func TestNamesInDocumentsExist(t *testing.T) {
	names := readNames(load(t))
	for _, d := range documents(t) {
		d.prose(load(t).packages(), func(scope, line string) {
			for _, test := range testName.FindAllString(line, -1) {
				if !names.has("", test) {
					t.Errorf("%s names %s, which no test is called", d.path, test)
				}
			}
			for _, s := range spans(line) {
				if m := qualified.FindStringSubmatch(s); m != nil && names.folder[m[1]] != "" && !names.has(names.folder[m[1]], m[2]) {
					t.Errorf("%s names %s, which package %s does not have", d.path, s, m[1])
				}
				if m := method.FindStringSubmatch(s); m != nil {
					in := scope
					if m[1] != "" {
						in = names.folder[m[1]]
					}
					if !names.has(in, m[2]+"."+m[3]) {
						t.Errorf("%s names %s, which %s does not have", d.path, s, names.describe(in))
					}
				}
				if m := function.FindStringSubmatch(s); m != nil && !names.has(scope, m[1]) {
					t.Errorf("%s names %s, which %s does not have", d.path, s, names.describe(scope))
				}
			}
		})
	}
}

// names are all names of the code.
type names struct {
	folder map[string]string          // by package name
	in     map[string]map[string]bool // folder → "Name", "Type.Member"; "" for all folders
}

func (n names) has(folder, name string) bool { return n.in[folder][name] }

func (n names) describe(folder string) string {
	if folder == "" {
		return "the code"
	}
	return "package " + folder
}

func readNames(all *tree) names {
	n := names{map[string]string{}, map[string]map[string]bool{"": {}}}
	for _, s := range all.sources {
		if n.in[s.dir] == nil {
			n.in[s.dir] = map[string]bool{}
		}
		if !s.test && s.Name.Name != "main" {
			n.folder[s.Name.Name] = s.dir
		}
		add := func(name string) { n.in[s.dir][name], n.in[""][name] = true, true }
		for _, decl := range s.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil {
				if r := receiver(f); r != nil {
					add(r.Name + "." + f.Name.Name)
				}
				continue
			}
			for _, id := range declared(decl) {
				add(id.Name)
			}
			for _, member := range members(decl) {
				add(member)
			}
		}
	}
	return n
}

// members returns the fields and interface methods of the types that a
// declaration makes.
func members(decl ast.Decl) []string {
	g, ok := decl.(*ast.GenDecl)
	if !ok {
		return nil
	}
	var all []string
	for _, spec := range g.Specs {
		s, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		var fields *ast.FieldList
		switch t := s.Type.(type) {
		case *ast.StructType:
			fields = t.Fields
		case *ast.InterfaceType:
			fields = t.Methods
		default:
			continue
		}
		for _, f := range fields.List {
			for _, id := range f.Names {
				all = append(all, s.Name.Name+"."+id.Name)
			}
		}
	}
	return all
}

var (
	inFolder = regexp.MustCompile(`^([\w.-]+)(/[\w.-]+)+/?$`)
	fileName = regexp.MustCompile(`^[\w-]+\.(go|md|py)$`)
)

func TestPathsInDocumentsExist(t *testing.T) {
	all := load(t)
	bases, top := make(map[string]bool), make(map[string]bool)
	for _, f := range all.files {
		first, _, folder := strings.Cut(f, "/")
		bases[path.Base(f)], top[first] = true, top[first] || folder
	}
	exists := func(p string) bool { _, err := os.Stat(p); return err == nil }
	for _, d := range documents(t) {
		d.prose(nil, func(_, line string) {
			for _, s := range spans(line) {
				if m := inFolder.FindStringSubmatch(s); m != nil && top[m[1]] && !exists(s) && !exists(path.Join(path.Dir(d.path), s)) {
					t.Errorf("%s names the path %s, which is not there", d.path, s)
				}
				if fileName.MatchString(s) && !bases[s] {
					t.Errorf("%s names the file %s, which is nowhere", d.path, s)
				}
			}
		})
	}
}

var credential = regexp.MustCompile(`"credential:([^"]+)"`)

func TestConfigurationsInDocumentsParse(t *testing.T) {
	given := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", given)
	seen := 0
	for _, d := range documents(t) {
		text := strings.Join(d.fenced("toml"), "\n")
		if text == "" {
			continue
		}
		seen++
		for _, m := range credential.FindAllStringSubmatch(text, -1) {
			if err := os.WriteFile(path.Join(given, "tidegate_"+m[1]), []byte("secret"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := daemon.Parse(d.path, []byte(text)); err != nil {
			t.Errorf("the configuration in %s: %v", d.path, err)
		}
	}
	if seen == 0 {
		t.Error("no document shows a configuration, not even the README")
	}
}

// calling matches a command line of one of our programs.
var calling = regexp.MustCompile(`(?:^|[ /])(tidegate|tidegate-cloud|firmware-sim|make) +([a-z][\w-]*)(.*)$`)

func TestCommandsInDocumentsExist(t *testing.T) {
	for _, d := range documents(t) {
		for _, line := range d.commands() {
			line, _, _ = strings.Cut(line, " #")
			m := calling.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			program, command := m[1], m[2]
			usage := usageOf(t, program, command)
			if usage == "" {
				t.Errorf("%s calls %q: %s has no command %q", d.path, line, program, command)
				continue
			}
			for _, word := range strings.Fields(m[3]) {
				name, _, _ := strings.Cut(word, "=")
				if strings.HasPrefix(name, "-") && !strings.Contains(usage, name+" ") && !strings.Contains(usage, name+"\t") && !strings.Contains(usage, name+"\n") && !strings.Contains(usage, name+"]") {
					t.Errorf("%s calls %q: %s %s has no flag %s", d.path, line, program, command, name)
				}
			}
		}
	}
}

// usageOf returns what a program says of a command, empty if it has none.
func usageOf(t *testing.T, program, command string) string {
	t.Helper()
	var out bytes.Buffer
	switch program {
	case "tidegate":
		if daemon.Main([]string{command, "-help"}, &out, &out) != 0 {
			return ""
		}
		return out.String()
	case "firmware-sim":
		if firmwaresim.Main([]string{"help", command}, &out, &out) != 0 {
			return ""
		}
		return out.String()
	case "make":
		return matching(t, "Makefile", regexp.MustCompile(`(?m)^`+command+`:.*$`))
	}
	// Its code is in package main, but it prints this text.
	return matching(t, "cmd/tidegate-cloud/command.go", regexp.MustCompile(`(?m)^  tidegate-cloud `+command+`\b.*(\n {10,}.*)*$`))
}

func matching(t *testing.T, file string, pattern *regexp.Regexp) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(pattern.Find(text))
}
