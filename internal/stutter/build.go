package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// sleep is the file that every package gets in addition.
//
//go:embed sleep.go.txt
var sleep string

// folder is a package as "go list" describes it, with the files that are built here.
type folder struct {
	ImportPath, Dir, Name              string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

// list returns packages, as go list understands them.
func list(patterns ...string) ([]folder, error) {
	out, err := command("list", append([]string{"-json=ImportPath,Dir,Name,GoFiles,TestGoFiles,XTestGoFiles"}, patterns...)...)
	if err != nil {
		return nil, err
	}
	var all []folder
	for in := json.NewDecoder(bytes.NewReader(out)); ; {
		var f folder
		switch err := in.Decode(&f); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		all = append(all, f)
	}
}

// command runs go, and returns what it printed.
func command(verb string, args ...string) ([]byte, error) {
	var out, wrong bytes.Buffer
	cmd := exec.Command("go", append([]string{verb}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &wrong
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s%s", verb, err, wrong.Bytes(), out.Bytes())
	}
	return out.Bytes(), nil
}

// overlay is what the go tool takes in the place of files: nothing is changed where the
// module lies.
type overlay struct {
	dir     string // of the files in their place
	Replace map[string]string
}

// add puts rewritten files in the place of a package's, and those of its tests.
func (o *overlay) add(f folder) error {
	var inside, outside sites
	for _, file := range append(f.GoFiles, f.TestGoFiles...) {
		if err := o.rewrite(&inside, filepath.Join(f.Dir, file)); err != nil {
			return err
		}
	}
	for _, file := range f.XTestGoFiles {
		if err := o.rewrite(&outside, filepath.Join(f.Dir, file)); err != nil {
			return err
		}
	}
	name := "stutter_sleep.go"
	if len(f.GoFiles) == 0 {
		name = "stutter_sleep_test.go"
	}
	return errors.Join(o.sleep(f, f.Name, name, inside), o.sleep(f, f.Name+"_test", "stutter_outside_test.go", outside))
}

func (o *overlay) rewrite(s *sites, path string) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if src, err = s.rewrite(path, src); err != nil {
		return err
	}
	return o.put(path, src)
}

func (o *overlay) sleep(f folder, pkg, name string, s sites) error {
	if len(s) == 0 {
		return nil
	}
	text := strings.NewReplacer("PACKAGE", pkg, "SITES", fmt.Sprintf("%#v", []string(s)), "DIR", strconv.Quote(f.ImportPath)).Replace(sleep)
	return o.put(filepath.Join(f.Dir, name), []byte(text))
}

func (o *overlay) put(path string, src []byte) error {
	place := filepath.Join(o.dir, strconv.Itoa(len(o.Replace))+".go")
	o.Replace[path] = place
	return os.WriteFile(place, src, 0o644)
}

// write writes down what is in whose place, and returns the file.
func (o *overlay) write() (string, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	file := filepath.Join(o.dir, "overlay.json")
	return file, os.WriteFile(file, text, 0o644)
}
