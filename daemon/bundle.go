package daemon

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/tarball"
)

const (
	// maxBundleFile and maxBundle are how many bytes a file of a bundle has at the
	// most, and all of them, before they are packed.
	maxBundleFile = 1 << 20
	maxBundle     = 5 << 20
	// bundleCheck is how long the checks of a bundle may take.
	bundleCheck = 20 * time.Second
)

// bundleFile is a file of a support bundle and how it is made. What fails says so
// in the file: the rest is needed all the more.
type bundleFile struct {
	name, about string
	make        func(ctx context.Context) ([]byte, error)
}

// writeBundle packs the files, without secrets, as they are made.
func writeBundle(ctx context.Context, w io.Writer, cfg Config, files []bundleFile) error {
	zip := gzip.NewWriter(w)
	out := tarball.NewWriter(zip)
	var r redactor
	effective := r.config(cfg)
	scrub := r.scrubber()
	files = append([]bundleFile{
		{"README.txt", "what is in here", func(context.Context) ([]byte, error) { return readme(files), nil }},
		{"config.toml", "the configuration, as far as it says more than the defaults; *** stands for what may be a secret", func(context.Context) ([]byte, error) { return effective, nil }},
	}, files...)
	left := maxBundle
	for _, f := range files {
		text, err := f.make(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			text = append(text, "this could not be told: "+err.Error()+"\n"...)
		}
		text = clipBundle([]byte(scrub.Replace(string(text))), min(maxBundleFile, left))
		left -= len(text)
		if err := errors.Join(out.File("tidegate/"+f.name, time.Now(), text), zip.Flush()); err != nil {
			return err
		}
	}
	return errors.Join(out.Close(), zip.Close())
}

// clipBundle cuts a file that is too long: of a log its beginning, which is older.
func clipBundle(text []byte, most int) []byte {
	const note = "… cut off here\n"
	if len(text) <= most {
		return text
	}
	return append(text[:max(0, most-len(note))], note...)
}

func readme(files []bundleFile) []byte {
	var b bytes.Buffer
	b.WriteString(`A support bundle of tidegate: what its makers, or whoever looks after this gateway,
need to find out why something does not work. No passwords, tokens and keys are in
it: *** stands for them, also where they were found in other texts. Addresses, names
of devices and the last lines of the log are. Read it before you give it away.

`)
	for _, f := range files {
		fmt.Fprintf(&b, "%-16s %s\n", f.name, f.about)
	}
	return b.Bytes()
}

// indented is a value as JSON for people.
func indented(value any, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(value, "", "  ")
}

// bundle is what a running gateway tells of itself.
func (d *Daemon) bundle() []bundleFile {
	return append([]bundleFile{
		{"status.json", "what the live page shows", func(context.Context) ([]byte, error) { return indented(d.status(), nil) }},
		{"metrics.txt", "all counters", func(context.Context) ([]byte, error) { return d.metrics().Text(nil), nil }},
		{"log.ndjson", "the last lines of the log, debug as well", func(context.Context) ([]byte, error) { return d.recentLog() }},
		{"buffer.json", "segments, places of the sinks, gaps and quarantine, as \"tidegate buffer ls -json\"", func(context.Context) ([]byte, error) {
			inv := d.buffer.Inventory()
			return indented(withoutRaw(inv), nil)
		}},
		{"goroutines.txt", "what the program is doing", func(context.Context) ([]byte, error) { return goroutines(), nil }},
	}, machineFiles(d.current().cfg)...)
}

func withoutRaw(inv buffer.Inventory) buffer.Inventory {
	for i := range inv.Refused {
		inv.Refused[i].Raw = nil
	}
	return inv
}

func (d *Daemon) recentLog() ([]byte, error) {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	for _, r := range d.tail.After(0, -1<<10).Records {
		if err := out.Encode(r); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func goroutines() []byte {
	dump := make([]byte, maxBundleFile)
	return dump[:runtime.Stack(dump, true)]
}

// bundleName is the name of a bundle's file.
func bundleName(gateway string) string {
	return strings.TrimPrefix(gateway+time.Now().UTC().Format("-support-20060102-150405.tar.gz"), "-")
}

// bundleRoutes give a support bundle to who asks, one at a time.
func (d *Daemon) bundleRoutes() []dashboard.Route {
	busy := make(chan struct{}, 1)
	return []dashboard.Route{{Pattern: "GET /api/v1/bundle", Access: dashboard.Operate, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case busy <- struct{}{}:
			defer func() { <-busy }()
		default:
			api.Answer(w, nil, api.Unavailable(errors.New("a bundle is being made already — hint: wait until that is done")))
			return
		}
		err := api.Download(w, bundleName(d.gateway), "application/gzip", func(w io.Writer) error {
			return writeBundle(r.Context(), w, d.current().cfg, d.bundle())
		})
		if err != nil {
			api.CutOff()
		}
	})}}
}

// copyBundle writes the bundle of the daemon or, if none runs, what can be told
// without one.
func copyBundle(ctx context.Context, w io.Writer, cfg Config) error {
	body, err := openAdmin(ctx, cfg.Gateway.SocketPath(), http.MethodGet, "/api/v1/bundle", nil)
	switch {
	case err == nil:
		defer body.Close()
		_, err = io.Copy(w, body)
		return err
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w — hint: try it with sudo", err)
	case !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED):
		return err
	}
	return writeBundle(ctx, w, cfg, append([]bundleFile{
		{"status.txt", "why there is no status", func(context.Context) ([]byte, error) { return nil, errors.New("no gateway runs") }},
		{"buffer.json", "segments, places of the sinks, gaps and quarantine, as \"tidegate buffer ls -json\"", func(ctx context.Context) ([]byte, error) {
			inv, err := (stopped{cfg}).inventory(ctx)
			return indented(withoutRaw(inv), err)
		}},
	}, machineFiles(cfg)...))
}
