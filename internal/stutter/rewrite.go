package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
)

// sites are the statements of a package that may sleep, as file:line. A statement is
// known by its index.
type sites []string

// rewrite returns a file in which each statement may sleep before it is done. Lines stay
// what they were, so that what fails tells its true place.
func (s *sites) rewrite(name string, src []byte) ([]byte, error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	places := statements(parsed)
	slices.Sort(places)
	var out bytes.Buffer
	done := 0
	for _, pos := range places {
		at := files.Position(pos)
		out.Write(src[done:at.Offset])
		fmt.Fprintf(&out, "stutterAt(%d); ", len(*s))
		*s = append(*s, fmt.Sprintf("%s:%d", filepath.Base(name), at.Line))
		done = at.Offset
	}
	out.Write(src[done:])
	return out.Bytes(), nil
}

// statements returns where those of functions begin, but for benchmarks, which would
// measure the sleeps, and for what has a label, which has to stay before its loop.
func statements(file *ast.File) []token.Pos {
	var places []token.Pos
	add := func(list []ast.Stmt) {
		for _, s := range list {
			switch s.(type) {
			case *ast.LabeledStmt, *ast.CaseClause, *ast.CommClause:
			default:
				places = append(places, s.Pos())
			}
		}
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); !ok || strings.HasPrefix(f.Name.Name, "Benchmark") {
			continue
		}
		ast.Inspect(d, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BlockStmt:
				add(n.List)
			case *ast.CaseClause:
				add(n.Body)
			case *ast.CommClause:
				add(n.Body)
			}
			return true
		})
	}
	return places
}
