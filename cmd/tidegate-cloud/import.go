package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/tidegate/tidegate/cloud"
)

// importFiles stores files of chunks.
func importFiles(ctx context.Context, args []string, s streams) error {
	var data string
	flags := flag.NewFlagSet("import", flag.ContinueOnError)
	flags.StringVar(&data, "data", "", "folder of the store")
	if err := parse(flags, args, 1, math.MaxInt); err != nil {
		return err
	}
	if data == "" {
		return usagef("import: -data is missing")
	}
	store, err := cloud.Open(cloud.StoreConfig{Dir: data})
	if err != nil {
		return err
	}
	for _, path := range flags.Args() {
		if err := importFile(ctx, store, path, s.out); err != nil {
			return errors.Join(fmt.Errorf("import %s: %w — hint: what came before is stored, and the import can be repeated", path, err), store.Close())
		}
	}
	return store.Close()
}

// importFile stores the chunks of one file and prints what became of them.
func importFile(ctx context.Context, store *cloud.Store, path string, out io.Writer) error {
	var in io.Reader = os.Stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	var total cloud.Result
	chunks := 0
	for c, err := range cloud.ReadChunks(bufio.NewReader(in)) {
		if err != nil {
			return err
		}
		r, err := store.Receive(ctx, c)
		if err != nil {
			return err
		}
		chunks++
		total.Fresh += r.Fresh
		total.Duplicates += r.Duplicates
	}
	_, err := fmt.Fprintf(out, "%s: %d chunks, %d readings stored, %d here already\n", path, chunks, total.Fresh, total.Duplicates)
	return err
}
