package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// borrow copies the libraries to dir, for the go tool overlays nothing in its cache. What
// it returns makes it use the copies.
func (p *plan) borrow(dir string) (flags []string, err error) {
	if len(p.libraries) == 0 {
		return nil, nil
	}
	mod := filepath.Join(dir, "go.mod")
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // without libraries from elsewhere there are no sums
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		if err != nil {
			return nil, err
		}
	}
	for i, path := range p.libraries {
		copied := filepath.Join(dir, "library", strconv.Itoa(i))
		if err := replace(mod, path, copied); err != nil {
			return nil, fmt.Errorf("library %s: %w", path, err)
		}
	}
	return []string{"-modfile=" + mod}, nil
}

// replace copies a library, and says in the module's file that the copy is in its place.
func replace(mod, path, copied string) error {
	out, err := command("list", "-m", "-f", "{{.Dir}}", path)
	if err != nil {
		return err
	}
	if err := os.CopyFS(copied, os.DirFS(strings.TrimSpace(string(out)))); err != nil {
		return err
	}
	module := filepath.Join(copied, "go.mod")
	if _, err := os.Stat(module); errors.Is(err, fs.ErrNotExist) { // older than modules
		if err := os.WriteFile(module, []byte("module "+path+"\n"), 0o644); err != nil {
			return err
		}
	}
	_, err = command("mod", "edit", "-replace="+path+"="+copied, mod)
	return err
}

// borrowed returns the packages of the libraries in dir that the module or its tests
// use; their own tests are not run.
func borrowed(dir string, flags []string) ([]folder, error) {
	if len(flags) == 0 {
		return nil, nil
	}
	all, err := list(append(flags, "all")...)
	if err != nil {
		return nil, err
	}
	var of []folder
	for _, f := range all {
		if strings.HasPrefix(f.Dir, filepath.Join(dir, "library")+string(filepath.Separator)) {
			f.TestGoFiles, f.XTestGoFiles = nil, nil
			of = append(of, f)
		}
	}
	return of, nil
}
