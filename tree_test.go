// Package tidegate_test holds the rules of the house, which no room can check
// for itself: which package may import which (arch_test.go), what code must look
// like (style_test.go), and whether the documents tell the truth (docs_test.go).
package tidegate_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// module is the prefix of our own import paths.
const module = "github.com/tidegate/tidegate/"

// source is one Go file.
type source struct {
	path string // from the root, with slashes
	dir  string // the package's folder, which is its import path without module
	test bool
	*ast.File
}

// imports returns the import paths, ours without module.
func (s source) imports() []string {
	var paths []string
	for _, i := range s.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		paths = append(paths, strings.TrimPrefix(p, module))
	}
	return paths
}

// tree is every file of the repository, for whatever system it is built.
type tree struct {
	fset    *token.FileSet
	sources []source
	files   []string // all of them, from the root
}

// place says where a node is, for people who want to go there.
func (t *tree) place(n ast.Node) string { return t.fset.Position(n.Pos()).String() }

// lines returns how many lines a node takes.
func (t *tree) lines(n ast.Node) int {
	return t.fset.Position(n.End()).Line - t.fset.Position(n.Pos()).Line + 1
}

// packages returns the folders of code that is no test.
func (t *tree) packages() []string {
	var dirs []string
	for _, s := range t.sources {
		if !s.test && !slices.Contains(dirs, s.dir) {
			dirs = append(dirs, s.dir)
		}
	}
	return dirs
}

// theTree reads the repository once for all tests.
var theTree = sync.OnceValues(readTree)

func load(t *testing.T) *tree {
	t.Helper()
	all, err := theTree()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func readTree() (*tree, error) {
	all := &tree{fset: token.NewFileSet()}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if slices.Contains([]string{".git", "bin", "dist", "node_modules"}, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		name = filepath.ToSlash(name)
		all.files = append(all.files, name)
		if path.Ext(name) != ".go" || strings.Contains(name, "testdata/") {
			return nil
		}
		parsed, err := parser.ParseFile(all.fset, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		all.sources = append(all.sources, source{name, path.Dir(name), strings.HasSuffix(name, "_test.go"), parsed})
		return nil
	})
	return all, err
}
