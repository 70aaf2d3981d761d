package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// limit is how long one test may take, with its sleeps.
const limit = "5m"

// test is one test of a package, and the seed of its sleeps.
type test struct {
	program, dir, name string
	seed               int
}

// run builds the packages' tests, runs them and tells out of each that failed.
func (p *plan) run(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "stutter-")
	if err != nil {
		return err
	}
	tests, err := p.build(dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	fmt.Fprintf(out, "%d runs; what fails is kept in %s\n", len(tests), dir)
	if failed := p.runAll(ctx, tests, dir, out); failed > 0 {
		return fmt.Errorf("%d of %d runs failed", failed, len(tests))
	}
	return os.RemoveAll(dir)
}

// build builds the packages' tests over a module that stutters, and returns all runs,
// those of a seed after those of the one before.
func (p *plan) build(dir string) ([]test, error) {
	flags, err := p.borrow(dir)
	if err != nil {
		return nil, err
	}
	all, err := list("./...")
	if err != nil {
		return nil, err
	}
	libraries, err := borrowed(dir, flags)
	if err != nil {
		return nil, err
	}
	o := overlay{dir: dir, Replace: make(map[string]string)}
	for _, f := range append(all, libraries...) {
		if err := o.add(f); err != nil {
			return nil, err
		}
	}
	file, err := o.write()
	if err != nil {
		return nil, err
	}
	wanted, err := list(p.packages...)
	if err != nil {
		return nil, err
	}
	flags = append(flags, "-c", "-race", "-vet=off", "-overlay="+file, "-o")
	var once, tests []test
	for i, f := range wanted {
		program := filepath.Join(dir, fmt.Sprintf("%d.test", i))
		if _, err := command("test", slices.Concat(flags, []string{program, f.ImportPath})...); err != nil {
			return nil, err
		}
		names, err := p.names(program, f.Dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			once = append(once, test{program: program, dir: f.Dir, name: name})
		}
	}
	for seed := p.first; seed <= p.last; seed++ {
		for _, t := range once {
			t.seed = seed
			tests = append(tests, t)
		}
	}
	return tests, nil
}

// names returns the tests in a program; none if its package has no tests.
func (p *plan) names(program, dir string) ([]string, error) {
	if _, err := os.Stat(program); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	cmd := exec.Command(program, "-test.list", p.tests)
	cmd.Dir = dir
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	var names []string
	for name := range strings.FieldsSeq(string(text)) {
		if strings.HasPrefix(name, "Test") {
			names = append(names, name)
		}
	}
	return names, nil
}

// runAll returns how many failed.
func (p *plan) runAll(ctx context.Context, tests []test, dir string, out io.Writer) (failed int) {
	var mu sync.Mutex
	var workers sync.WaitGroup
	next := make(chan test)
	for range p.atOnce {
		workers.Go(func() {
			for t := range next {
				kept, err := t.run(ctx, dir, p.share)
				if err != nil {
					mu.Lock()
					failed++
					fmt.Fprintf(out, "%s: %v: %s\n", t, err, kept)
					mu.Unlock()
				}
			}
		})
	}
	for _, t := range tests {
		if ctx.Err() != nil {
			break
		}
		next <- t
	}
	close(next)
	workers.Wait()
	return failed
}

// run runs the test, and returns the file that has what it printed if it failed; where it
// slept is in one beside it, which ends in .sleeps. What it has started and left behind,
// as one does whose time was over, ends with it.
func (t test) run(ctx context.Context, dir string, share int) (kept string, err error) {
	kept = filepath.Join(dir, fmt.Sprintf("%s.%s.%d", filepath.Base(t.dir), t.name, t.seed))
	printed, err := os.Create(kept)
	if err != nil {
		return "", err
	}
	defer printed.Close()
	cmd := exec.CommandContext(ctx, t.program, "-test.short", "-test.timeout="+limit, "-test.run=^"+t.name+"$")
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.dir, printed, printed
	cmd.Env = append(os.Environ(), "STUTTER_SEED="+strconv.Itoa(t.seed), "STUTTER_SHARE="+strconv.Itoa(share), "STUTTER_LOG="+kept+".sleeps")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endAll := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = endAll
	if err := cmd.Start(); err != nil {
		return kept, err
	}
	err = cmd.Wait()
	endAll()
	if err != nil {
		return kept, err
	}
	os.Remove(kept + ".sleeps")
	return "", os.Remove(kept)
}

func (t test) String() string {
	return fmt.Sprintf("%s %s, seed %d", filepath.Base(t.dir), t.name, t.seed)
}
