// Command stutter runs tests on a machine that stops at the wrong moments: each statement
// of the module, of programs and of tests, may sleep for 20 to 620 ms the first two times
// that it is come to. Which ones do is drawn. What a busy machine does to one run of a
// hundred, it does in a few, and says where.
//
//	go run ./internal/stutter [-seeds FROM-TO] [-share N] [-run REGEXP] [-at-once N] [-with MODULES] PACKAGE...
//
// With -with, so does each statement of the libraries that are named.
//
// Each test runs in a process of its own, once for each seed, with the race detector. Of
// one that failed, a folder keeps what it printed and where it had slept. Nobody's fault
// is a promise about time that the sleeps alone have broken.
//
// Virtual time (testing/synctest) is left alone: there, a sleep is nothing that happens.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
)

// plan is what is asked for.
type plan struct {
	first, last int // seeds
	share       int // of a thousand statements
	tests       string
	atOnce      int
	packages    []string
	libraries   []string // modules that stutter with ours
}

func main() {
	p := plan{}
	seeds := flag.String("seeds", "1-3", "which statements sleep: the seeds `FROM-TO`, a draw each")
	flag.IntVar(&p.share, "share", 10, "how many of a thousand statements sleep; 3 for a test of a whole gateway, which meets many")
	flag.StringVar(&p.tests, "run", "^Test", "which tests")
	flag.IntVar(&p.atOnce, "at-once", 3, "how many processes")
	libraries := flag.String("with", "", "`MODULES`, with commas between them, that stutter too")
	flag.Parse()
	p.libraries = strings.FieldsFunc(*libraries, func(r rune) bool { return r == ',' })
	p.packages = flag.Args()
	err := p.check(*seeds)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		err = p.run(ctx, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stutter:", err)
		os.Exit(1)
	}
}

func (p *plan) check(seeds string) error {
	if n, _ := fmt.Sscanf(seeds, "%d-%d", &p.first, &p.last); n == 1 {
		p.last = p.first
	}
	_, wrong := regexp.Compile(p.tests)
	switch {
	case p.first < 1 || p.last < p.first:
		return fmt.Errorf("-seeds %q is no range — hint: 1-3, say", seeds)
	case p.share < 1 || p.share > 1000:
		return fmt.Errorf("-share %d: from 1 to 1000", p.share)
	case p.atOnce < 1:
		return fmt.Errorf("-at-once %d: at least 1", p.atOnce)
	case len(p.packages) == 0:
		return fmt.Errorf("of which packages? — hint: go run ./internal/stutter ./ingest/serialin")
	}
	return wrong
}
