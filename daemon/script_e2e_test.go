package daemon

import (
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the scripts of testdata/script: the program as people and
// other programs use it, with what it prints and how it ends.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", quickExit)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"eventually": eventuallySucceeds},
	})
}

// eventuallySucceeds is "eventually program argument...": it runs a program
// until that succeeds.
func eventuallySucceeds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: eventually program [argument...]")
	}
	deadline := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for ts.Exec(args[0], args[1:]...) != nil {
		select {
		case <-again.C:
		case <-deadline:
			ts.Fatalf("%q did not succeed within %v", args, patience)
		}
	}
}
