package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/tidegate/tidegate/cloud"
	"github.com/tidegate/tidegate/wire"
)

// imported is what became of a file, as "import -json" prints it.
type imported struct {
	File   string `json:"file"`
	Chunks int    `json:"chunks"`
	// Stored and Here count readings: those that were new, and those that were
	// here already. A running receiver tells only whether all of a chunk was.
	Stored uint64 `json:"stored"`
	Here   uint64 `json:"here_already"`
	// Damage is what the file holds beside whole chunks.
	Damage []damage `json:"damage"`
	// Error is why the file was not read to its end, or a chunk not taken.
	Error string `json:"error,omitempty"`
}

// damage is a part of a file from which nothing was taken.
type damage struct {
	From int64  `json:"from,omitempty"` // bytes from here
	To   int64  `json:"to,omitempty"`   // up to here, not included
	Cut  bool   `json:"cut,omitempty"`  // the file ends too early
	What string `json:"what"`
}

// taker takes chunks: a store, or a receiver that has one open.
type taker interface {
	Receive(ctx context.Context, c wire.Chunk) (cloud.Result, error)
}

// importFiles takes what is whole in files of chunks.
func importFiles(ctx context.Context, args []string, s streams) (err error) {
	var to place
	var tokens string
	var asJSON bool
	flags := flag.NewFlagSet("import", flag.ContinueOnError)
	to.flags(flags)
	flags.StringVar(&tokens, "tokens", "", "with -url: file of gateways and their tokens")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	if err := errors.Join(parse(flags, args, 1, math.MaxInt), to.check("import")); err != nil {
		return err
	}
	var into taker
	if to.url != "" {
		known, err := readTokens(tokens)
		if err != nil {
			return err
		}
		into = receiver{strings.TrimSuffix(to.url, "/") + "/v1/ingest", known}
	} else {
		store, err := cloud.Open(cloud.StoreConfig{Dir: to.data})
		if err != nil {
			return fmt.Errorf("%w — hint: while \"tidegate-cloud run\" has it open, import with -url", err)
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		into = store
	}
	files := []imported{}
	for _, path := range flags.Args() {
		files = append(files, importFile(ctx, into, path))
	}
	if err := printImported(s.out, files, asJSON); err != nil {
		return err
	}
	return judgeImported(files)
}

// importFile takes the whole chunks of one file.
func importFile(ctx context.Context, into taker, path string) imported {
	done := imported{File: path, Damage: []damage{}}
	var in io.Reader = os.Stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			done.Error = err.Error()
			return done
		}
		defer file.Close()
		in = file
	}
	chunks, err := chunksOf(in, filepath.Base(path))
	if err != nil {
		done.Error = err.Error()
		return done
	}
	for c, err := range chunks {
		if err == nil {
			err = done.take(ctx, into, c)
		}
		if err != nil && !done.note(err) {
			done.Error = err.Error()
			break
		}
	}
	return done
}

// chunksOf reads what a file of the name holds: chunks, or lines of JSON, compressed
// or not. It begins with one byte or the other; if with neither, because its beginning
// is damaged, the name tells.
func chunksOf(in io.Reader, name string) (iter.Seq2[wire.Chunk, error], error) {
	r := bufio.NewReader(in)
	var plain io.Reader = r
	var err error
	switch head, _ := r.Peek(4); { // a file may be shorter
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		plain, err = gzip.NewReader(r)
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		plain, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow))
	}
	if err != nil {
		return nil, err
	}
	r = bufio.NewReader(plain)
	if head, _ := r.Peek(2); bytes.HasPrefix(head, []byte("{")) || string(head) != chunkMagic && strings.Contains(name, ".ndjson") {
		return cloud.ReadLines(r), nil
	}
	return cloud.ReadChunks(r), nil
}

// chunkMagic is what a chunk begins with (wire/FORMAT.md).
const chunkMagic = "tC"

// maxWindow bounds the memory in bytes that a compressed file may ask for.
const maxWindow = 64 << 20

func (i *imported) take(ctx context.Context, into taker, c wire.Chunk) error {
	r, err := into.Receive(ctx, c)
	if err != nil {
		return fmt.Errorf("%s %016x %s %d..%d: %w", c.Gateway, c.Epoch(), c.Lane(), c.First(), c.Last(), err)
	}
	i.Chunks++
	i.Stored += r.Fresh
	i.Here += r.Duplicates
	return nil
}

// note notes what is wrong with a part of the file; it is false for an error
// after which the rest is not tried.
func (i *imported) note(err error) bool {
	d := damage{What: err.Error()}
	if where, ok := errors.AsType[*cloud.Damage](err); ok {
		d.From, d.To, d.Cut = where.From, where.To, where.Cut
	} else if !errors.Is(err, wire.ErrVersion) && !errors.Is(err, wire.ErrCorrupt) {
		return false
	}
	i.Damage = append(i.Damage, d)
	return true
}

func printImported(w io.Writer, files []imported, asJSON bool) error {
	if asJSON {
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		return out.Encode(map[string]any{"files": files})
	}
	var b strings.Builder
	for _, i := range files {
		fmt.Fprintf(&b, "%s: %d chunks, %d readings stored, %d here already\n", i.File, i.Chunks, i.Stored, i.Here)
		for _, d := range i.Damage {
			fmt.Fprintf(&b, "%s: left out: %s\n", i.File, d.What)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// judgeImported is the error of an import that did not take everything.
func judgeImported(files []imported) error {
	var all []error
	for _, i := range files {
		switch {
		case i.Error != "":
			all = append(all, fmt.Errorf("import %s: %s — hint: what came before is stored, and the import can be repeated", i.File, i.Error))
		case len(i.Damage) > 0:
			all = append(all, fmt.Errorf("import %s: %d parts are damaged or unknown and left out; what is whole is stored — hint: copy the file again, and import it again: nothing counts twice", i.File, len(i.Damage)))
		}
	}
	return errors.Join(all...)
}

// receiver is a tidegate-cloud that runs.
type receiver struct {
	url    string
	tokens map[string]string // by gateway
}

// Receive delivers the chunk as its gateway would.
func (r receiver) Receive(ctx context.Context, c wire.Chunk) (cloud.Result, error) {
	body, err := wire.AppendChunk(nil, c)
	if err != nil {
		return cloud.Result{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return cloud.Result{}, usageError{err}
	}
	req.Header.Set("Content-Type", cloud.ChunkType)
	if token := r.tokens[c.Gateway]; token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return cloud.Result{}, fmt.Errorf("%w — hint: is \"tidegate-cloud run\" listening there?", err)
	}
	defer res.Body.Close()
	var said struct {
		Acked struct {
			Lane        string
			First, Last uint64
		}
		Duplicate   bool
		Error, Hint string
	}
	err = json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&said)
	if res.StatusCode == http.StatusBadRequest {
		return cloud.Result{}, fmt.Errorf("%s: %w", said.Error, wire.ErrCorrupt)
	}
	if res.StatusCode != http.StatusOK {
		return cloud.Result{}, fmt.Errorf("%s answered %s: %s — hint: %s", r.url, res.Status, said.Error, said.Hint)
	}
	if err != nil || said.Acked.Lane != c.Lane().String() || said.Acked.First != c.First() || said.Acked.Last != c.Last() {
		return cloud.Result{}, fmt.Errorf("%s did not acknowledge what it was sent — hint: is that a tidegate-cloud?", r.url)
	}
	if said.Duplicate {
		return cloud.Result{Duplicates: uint64(c.Count())}, nil
	}
	return cloud.Result{Fresh: uint64(c.Count())}, nil
}
