package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// bench is one run.
type bench struct {
	program  string // this program, to start it again
	dir      string // everything that is written is below
	quick    bool
	progress io.Writer
	report   report
}

// cell is one thing to measure.
type cell struct {
	name string
	run  func(*bench, context.Context) error
}

func cells() []cell {
	return []cell{
		{"ingest", (*bench).ingest},
		{"wire", (*bench).wire},
		{"disk", (*bench).disk},
		{"rss", (*bench).rss},
		{"idle", (*bench).idle},
		{"start", (*bench).starting},
		{"drain", (*bench).drain},
		{"slow", (*bench).slow},
		{"e2e", (*bench).e2e},
		{"fair", (*bench).fair},
		{"doors", (*bench).doors},
		{"idle10k", (*bench).idle10k},
		{"storm5k", (*bench).storm5k},
		{"sinks", (*bench).sinks},
		{"thin", (*bench).thin},
		{"page", (*bench).page},
		{"screen", (*bench).screen},
	}
}

type options struct {
	cells, dir, json string
	quick, strict    bool
}

// command runs the program with its arguments and returns its exit code.
func command(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "serve" {
		if err := serve(args[1:], stdin); err != nil {
			fmt.Fprintln(stderr, "tidebench serve:", err)
			return exitFailure
		}
		return exitOK
	}
	var o options
	flags := flag.NewFlagSet("tidebench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.cells, "cells", "", "measure only these, separated by commas")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "a `folder` on the disk to measure")
	flags.StringVar(&o.json, "json", "", "write the figures to this `file`, too")
	flags.BoolVar(&o.quick, "quick", false, "one short round: shows that it works, and roughly how well")
	flags.BoolVar(&o.strict, "strict", false, "exit with 1 when a bar is missed")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	chosen, err := choose(o.cells)
	if err != nil || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "tidebench: wrong call:", errors.Join(err, unexpected(flags.Args())))
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	missed, err := measure(ctx, o, chosen, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "tidebench:", err)
		return exitFailure
	}
	if missed > 0 && o.strict {
		return exitFailure
	}
	return exitOK
}

func unexpected(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%q is not expected", args)
}

// choose returns the cells that are named, all of them for none.
func choose(names string) ([]cell, error) {
	if names == "" {
		return cells(), nil
	}
	var chosen []cell
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(cells(), func(c cell) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no cell %q", name)
		}
		chosen = append(chosen, cells()[i])
	}
	return chosen, nil
}

// measure runs the cells and prints what each has found. One that breaks does
// not keep the others from running. missed is the number of bars missed.
func measure(ctx context.Context, o options, chosen []cell, stdout, stderr io.Writer) (missed int, err error) {
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(o.dir, "tidebench-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if !isDisk(dir) {
		fmt.Fprintf(stderr, "tidebench: %s is in memory, so syncs cost nothing; hint: -dir names a folder on a disk\n", o.dir)
	}
	b := &bench{program: program, dir: dir, quick: o.quick, progress: stderr, report: newReport()}
	for _, c := range chosen {
		began := time.Now()
		if broken := c.run(b, ctx); broken != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", c.name, broken))
		}
		if ctx.Err() != nil {
			return 0, cmp.Or(err, context.Cause(ctx))
		}
		fmt.Fprintf(stderr, "%s took %v\n", c.name, time.Since(began).Round(time.Second))
		b.report.writeCell(stdout, c.name)
	}
	if o.json != "" {
		err = errors.Join(err, b.report.save(o.json))
	}
	return b.report.missed(), err
}

// tmpfsMagic is how statfs names a file system in memory.
const tmpfsMagic = 0x01021994

func isDisk(dir string) bool {
	var st syscall.Statfs_t
	return syscall.Statfs(dir, &st) == nil && st.Type != tmpfsMagic
}

// say tells who waits what is going on.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "  "+format+"\n", args...)
}

// pick returns the first value in a quick run and the second in a full one.
func pick[T any](b *bench, quick, full T) T {
	if b.quick {
		return quick
	}
	return full
}

// folder returns a new folder, and how to remove it.
func (b *bench) folder(name string) (dir string, remove func() error, err error) {
	dir, err = os.MkdirTemp(b.dir, name+"-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}

// during runs f beside a load and ends it when f is done.
func during(ctx context.Context, load func(context.Context) error, f func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- load(ctx) }()
	err := f()
	cancel()
	if failed := <-ended; failed != nil && !errors.Is(failed, context.Canceled) {
		err = errors.Join(err, failed)
	}
	return err
}

// let lets a load run for a while.
func let(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// poll asks until done says so, every interval, for no longer than patience.
func poll(ctx context.Context, interval, patience time.Duration, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%s: not within %v", what, patience))
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
