// Command completion writes completions for bash: of the programs' commands, their
// commands, flags, the words that flags take, files and serial ports. They are made
// of what the programs say of themselves, and need no library of functions.
//
//	go run ./packaging/completion -bin DIR -o DIR
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tidegate/tidegate/packaging/usage"
)

func main() {
	bin := flag.String("bin", "bin", "`DIR` of the programs, built for this machine")
	out := flag.String("o", ".", "`DIR` for the completions")
	flag.Parse()
	if err := write(context.Background(), *bin, *out); err != nil {
		fmt.Fprintf(os.Stderr, "completion: %v\n", err)
		os.Exit(1)
	}
}

// write makes a file for each program, called like it, as bash-completion looks for
// them.
func write(ctx context.Context, bin, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"tidegate", "tidegate-cloud", "firmware-sim"} {
		p, err := usage.Read(ctx, filepath.Join(bin, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name), script(p), 0o644); err != nil {
			return err
		}
	}
	return nil
}
