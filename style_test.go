package tidegate_test

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// The bars. They are not the aim, but what is beyond them is nearly always two
// things in one.
const (
	maxFunction  = 60  // lines
	maxFile      = 400 // lines
	maxInterface = 4   // methods
)

// longer says which functions may be longer, and why.
var longer = map[string]string{
	"uplink/httpout/judge_test.go TestEveryStatusHasItsClass": "one table of statuses",
}

func TestNothingIsTooLong(t *testing.T) {
	all := load(t)
	spared := make(map[string]bool)
	for _, s := range all.sources {
		if n := all.fset.File(s.Pos()).LineCount(); n > maxFile {
			t.Errorf("%s has %d lines: at most %d, so split it where its reader would", s.path, n, maxFile)
		}
		ast.Inspect(s.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				name := s.path + " " + n.Name.Name
				if lines := all.lines(n); lines > maxFunction && longer[name] != "" {
					spared[name] = true
				} else if lines > maxFunction {
					t.Errorf("%s: %s has %d lines: at most %d", all.place(n), n.Name.Name, lines, maxFunction)
				}
			case *ast.InterfaceType:
				if n.Methods.NumFields() > maxInterface {
					t.Errorf("%s: an interface of %d methods: at most %d", all.place(n), n.Methods.NumFields(), maxInterface)
				}
			}
			return true
		})
	}
	for name := range longer {
		if !spared[name] {
			t.Errorf("%s is short enough, or gone: take it out of the exemptions", name)
		}
	}
}

// TestNothingHappensBeforeMain forbids init functions and package-level state:
// a program can be read from main downwards then, and tests cannot meet in it.
func TestNothingHappensBeforeMain(t *testing.T) {
	all := load(t)
	for _, s := range all.sources {
		if s.test {
			continue
		}
		for _, decl := range s.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					t.Errorf("%s: init: let main or a constructor call it", all.place(d))
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					v, ok := spec.(*ast.ValueSpec)
					if ok && d.Tok == token.VAR && !constant(d, v) {
						t.Errorf("%s: %s is package-level state: only errors, tables, compiled patterns and embedded files may be",
							all.place(v), v.Names[0].Name)
					}
				}
			}
		}
	}
	for _, w := range writes(all) {
		t.Errorf("%s", w)
	}
}

// constant says whether a variable is one only because Go has no such constant.
func constant(d *ast.GenDecl, v *ast.ValueSpec) bool {
	if v.Names[0].Name == "_" || embedded(d) || embedded(v) {
		return true
	}
	if len(v.Values) == 0 {
		return false
	}
	return !slices.ContainsFunc(v.Values, func(e ast.Expr) bool {
		return !constantValue(e) && !errorValue(v.Names[0].Name, e)
	})
}

// errorValue matches errFull = &problem{…}, an error with more in it than text.
func errorValue(name string, e ast.Expr) bool {
	pointer, ok := e.(*ast.UnaryExpr)
	return ok && pointer.Op == token.AND && strings.HasPrefix(strings.ToLower(name), "err")
}

func embedded(n ast.Node) bool {
	var doc *ast.CommentGroup
	switch n := n.(type) {
	case *ast.GenDecl:
		doc = n.Doc
	case *ast.ValueSpec:
		doc = n.Doc
	}
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// makers return values that nobody changes.
var makers = []string{
	"errors.New", "fmt.Errorf", "regexp.MustCompile", "crc32.MakeTable",
	"strings.NewReplacer", "netip.MustParsePrefix", "time.Date", "math.Inf", "math.NaN",
}

func constantValue(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit:
		_, foreign := e.Type.(*ast.SelectorExpr) // sync.Pool{…} has a life of its own
		return !foreign
	case *ast.BasicLit:
		return true
	case *ast.CallExpr:
		fun, ok := e.Fun.(*ast.SelectorExpr)
		if ok {
			from, _ := fun.X.(*ast.Ident)
			return from != nil && slices.Contains(makers, from.Name+"."+fun.Sel.Name)
		}
		_, conversion := e.Fun.(*ast.ArrayType) // []byte("...")
		_, called := e.Fun.(*ast.FuncLit)       // a table that is computed
		return conversion || called
	}
	return false
}

// writes finds assignments to package-level variables, or into them.
func writes(all *tree) []string {
	var found []string
	for _, s := range all.sources {
		if s.test {
			continue
		}
		global := make(map[string]bool)
		for _, other := range all.sources {
			if other.dir == s.dir && !other.test {
				for _, d := range other.Decls {
					noteVars(global, d)
				}
			}
		}
		ast.Inspect(s.File, func(n ast.Node) bool {
			assign, ok := n.(*ast.AssignStmt)
			if !ok || assign.Tok == token.DEFINE {
				return true
			}
			for _, target := range assign.Lhs {
				if id := root(target); id != nil && global[id.Name] && !local(id, s.File) {
					found = append(found, all.place(id)+": "+id.Name+" is package-level and is written to")
				}
			}
			return true
		})
	}
	return found
}

func noteVars(global map[string]bool, d ast.Decl) {
	g, ok := d.(*ast.GenDecl)
	if !ok || g.Tok != token.VAR {
		return
	}
	for _, spec := range g.Specs {
		for _, name := range spec.(*ast.ValueSpec).Names {
			global[name.Name] = name.Name != "_"
		}
	}
}

// root is the variable that x, x[i], x.f and *x belong to.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// local says whether the parser has resolved the name to something within a
// function of the file.
func local(id *ast.Ident, f *ast.File) bool {
	return id.Obj != nil && f.Scope.Lookup(id.Name) != id.Obj
}

func TestExportedNamesAreDocumented(t *testing.T) {
	all := load(t)
	documented := make(map[string]bool) // packages
	for _, s := range all.sources {
		if s.test {
			continue
		}
		documented[s.dir] = documented[s.dir] || s.Doc != nil
		for _, decl := range s.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil {
					t.Errorf("%s: %s has no comment", all.place(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, name := range undocumented(d) {
					t.Errorf("%s: %s has no comment", all.place(name), name.Name)
				}
			}
		}
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no comment: say what it is for and what it promises", dir)
		}
	}
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	id := receiver(d)
	return id != nil && id.IsExported()
}

// receiver returns the name of the type that a method belongs to.
func receiver(d *ast.FuncDecl) *ast.Ident {
	t := d.Recv.List[0].Type
	if pointer, ok := t.(*ast.StarExpr); ok {
		t = pointer.X
	}
	if generic, ok := t.(*ast.IndexExpr); ok {
		t = generic.X
	}
	id, _ := t.(*ast.Ident)
	return id
}

// undocumented returns the exported names of a declaration that neither have a
// comment nor are named in one of their group.
func undocumented(d *ast.GenDecl) []*ast.Ident {
	var names []*ast.Ident
	said := d.Doc.Text()
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Doc == nil && d.Doc == nil && s.Name.IsExported() {
				names = append(names, s.Name)
			}
		case *ast.ValueSpec:
			said += s.Doc.Text()
			name := s.Names[0]
			if name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil && !strings.Contains(said, name.Name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func TestTestsDoNotSleep(t *testing.T) {
	all := load(t)
	for _, s := range all.sources {
		if !s.test && !strings.HasSuffix(s.dir, "test") {
			continue
		}
		bubble := slices.Contains(s.imports(), "testing/synctest")
		ast.Inspect(s.File, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if ok && call.Sel.Name == "Sleep" && !bubble {
				if from, ok := call.X.(*ast.Ident); ok && from.Name == "time" {
					t.Errorf("%s: time.Sleep: wait for what is to happen, or use testing/synctest", all.place(call))
				}
			}
			return true
		})
	}
}

// vague matches words that tell a reader nothing.
var vague = regexp.MustCompile(`(^|[a-z0-9])(Manager|Handler|Service|Helper|Util|Utils|Common)($|[A-Z0-9])|^(manager|handler|service|helper|util|utils|common)([A-Z0-9]|$)`)

func TestNamesSaySomething(t *testing.T) {
	all := load(t)
	for _, s := range all.sources {
		if vague.MatchString(path.Base(s.dir)) {
			t.Errorf("%s: a package's name says what it has", s.dir)
		}
		for _, decl := range s.Decls {
			for _, name := range declared(decl) {
				if vague.MatchString(name.Name) {
					t.Errorf("%s: %s: name it after what it does", all.place(name), name.Name)
				}
			}
		}
	}
}

// declared returns the names that a top-level declaration makes.
func declared(decl ast.Decl) []*ast.Ident {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		return []*ast.Ident{d.Name}
	case *ast.GenDecl:
		var names []*ast.Ident
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name)
			case *ast.ValueSpec:
				names = append(names, s.Names...)
			}
		}
		return names
	}
	return nil
}

// elsewhere matches what belongs to one developer's machine: where packages came
// from, and folders. Put together here, so that this file passes, too.
var elsewhere = regexp.MustCompile(`\b(` + strings.Join([]string{"proxy", "sum", "registry", "deb"}, "|") + `)\.(golang|npmjs|debian)\.org|/` + `(work|root|home)/`)

func TestTheProjectSpeaksOfItselfOnly(t *testing.T) {
	for _, name := range load(t).files {
		if strings.Contains(name, "testdata/fuzz/") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil || !utf8.Valid(text) {
			continue // gone again, or no text
		}
		if where := elsewhere.Find(text); where != nil {
			t.Errorf("%s mentions %q, which means nothing to its readers", name, where)
		}
	}
}
