// Command sbom writes the bill of materials of a program: which modules it is made
// of, as CycloneDX 1.6 in JSON. All of it is read from the program itself, but for
// the licences and the plot library of the page.
//
//	go run ./packaging/sbom [-version VERSION] PROGRAM
//
// The same program makes the same bytes; SOURCE_DATE_EPOCH is its time, and without
// one there is none.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	version := flag.String("version", "", "the `VERSION` of the program")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "sbom: of which program? — hint: go run ./packaging/sbom bin/tidegate")
		os.Exit(2)
	}
	b, err := read(flag.Arg(0), *version, os.Getenv("SOURCE_DATE_EPOCH"))
	if err == nil {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		out.SetEscapeHTML(false)
		err = out.Encode(b)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "sbom: %v\n", err)
		os.Exit(1)
	}
}

// stamp returns a SOURCE_DATE_EPOCH as CycloneDX writes times.
func stamp(epoch string) (string, error) {
	if epoch == "" {
		return "", nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return "", fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC().Format(time.RFC3339), nil
}
