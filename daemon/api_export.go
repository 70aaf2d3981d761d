package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/sticks"
)

// exportOrder is what POST /api/v1/export wants, and GET in its query without the
// mount.
type exportOrder struct {
	// Mount is the folder of the stick.
	Mount string `json:"mount"`
	// Format is packed, ndjson or csv; packed if empty.
	Format string `json:"format"`
	// Undelivered names a sink: only what that does not have.
	Undelivered string `json:"undelivered"`
	// From and To are Unix milliseconds, 0 for no bound.
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// exportProgress is a line of the answer. The last one has the file's name: it is
// whole then, and the stick may be pulled.
type exportProgress struct {
	Bytes    int64  `json:"bytes"`
	Readings uint64 `json:"readings"`
	File     string `json:"file,omitempty"`
	// LeftOut says what could not be read.
	LeftOut string `json:"left_out,omitempty"`
}

// exportRoutes copy readings to who asks, or to a stick in the gateway. One at a
// time: each reads the journal from its beginning.
func (d *Daemon) exportRoutes(host sticks.Host) []dashboard.Route {
	busy := make(chan struct{}, 1)
	alone := func(handle http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			select {
			case busy <- struct{}{}:
				defer func() { <-busy }()
				handle(w, r)
			default:
				api.Answer(w, nil, api.Unavailable(errors.New("readings are being exported already — hint: wait until that is done")))
			}
		}
	}
	route := func(pattern string, handle http.HandlerFunc) dashboard.Route {
		return dashboard.Route{Pattern: pattern, Access: dashboard.Operate, Handler: handle}
	}
	return []dashboard.Route{
		route("GET /api/v1/export", alone(d.downloadExport)),
		route("GET /api/v1/sticks", func(w http.ResponseWriter, _ *http.Request) {
			list, err := host.List(d.current().cfg.Gateway.DataDir)
			api.Answer(w, list, err)
		}),
		route("POST /api/v1/export", alone(func(w http.ResponseWriter, r *http.Request) { d.exportToStick(w, r, host) })),
	}
}

// export prepares what the order asks for.
func (d *Daemon) export(o exportOrder) (*export, error) {
	if o.Format == "" {
		o.Format = "packed"
	}
	if extensions()[o.Format] == "" {
		return nil, api.Invalid(fmt.Errorf("format: %w", noFormat(o.Format)))
	}
	if o.To != 0 && o.From >= o.To {
		return nil, api.Invalid(errors.New("from is not before to — hint: both are milliseconds since 1970"))
	}
	e := &export{gateway: d.gateway, format: o.Format, inventory: d.buffer.Inventory().Politely()}
	e.query = buffer.Query{From: o.From * int64(time.Millisecond), To: o.To * int64(time.Millisecond), Undelivered: o.Undelivered}
	if _, ok := e.inventory.Sink(o.Undelivered); !ok && o.Undelivered != "" {
		return nil, api.AdviseSink(buffer.ErrNoSink, o.Undelivered)
	}
	return e, nil
}

// exportName is a name for the file that every file system takes.
func (d *Daemon) exportName(format string) string {
	return d.gateway + time.Now().UTC().Format("-20060102-150405") + extensions()[format]
}

func (d *Daemon) downloadExport(w http.ResponseWriter, r *http.Request) {
	o, err := readExportQuery(r.URL.Query())
	var e *export
	if err == nil {
		e, err = d.export(o)
	}
	if err != nil {
		api.Answer(w, nil, err)
		return
	}
	types := map[string]string{"packed": "application/vnd.tidegate.chunk", "ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
	err = api.Download(w, d.exportName(e.format), types[e.format], func(w io.Writer) error {
		_, err := e.to(r.Context(), w)
		if errors.Is(err, buffer.ErrLeftOut) {
			d.log.Warn("an export leaves out what cannot be read", "err", err)
			return nil
		}
		return err
	})
	if err != nil {
		api.CutOff()
	}
}

func readExportQuery(q url.Values) (o exportOrder, err error) {
	o.Format, o.Undelivered = q.Get("format"), q.Get("undelivered")
	for name, into := range map[string]*int64{"from": &o.From, "to": &o.To} {
		if text := q.Get(name); text != "" {
			if *into, err = strconv.ParseInt(text, 10, 64); err != nil {
				return o, api.Invalid(fmt.Errorf("%s=%q is no time — hint: write milliseconds since 1970", name, text))
			}
		}
	}
	return o, nil
}

// progressEvery is how often an export says how far it is.
const progressEvery = time.Second / 2

// exportToStick writes a file, and tells how far it is.
func (d *Daemon) exportToStick(w http.ResponseWriter, r *http.Request, host sticks.Host) {
	var o exportOrder
	err := api.Read(w, r, 4<<10, &o)
	var e *export
	if err == nil {
		e, err = d.export(o)
	}
	if err == nil {
		err = d.fits(host, o.Mount, e)
	}
	if err != nil {
		api.Answer(w, nil, err)
		return
	}
	out, said := api.NewLines(w), time.Now()
	if out.Begin() != nil {
		return
	}
	e.told = func(n exported) {
		if now := time.Now(); now.Sub(said) >= progressEvery {
			said = now
			_ = out.Write(exportProgress{Bytes: n.bytes, Readings: n.readings}) // r's context ends when nobody reads
		}
	}
	// A stick that was pulled meanwhile has left a folder, and the disk below is not to
	// be filled.
	e.there = func() error { return d.fits(host, o.Mount, e) }
	last, err := d.writeStick(r.Context(), o.Mount, e)
	if err != nil {
		out.End(err)
		return
	}
	_ = out.Write(last) // the file is there, whether anybody hears of it or not
}

// writeStick makes the file, which is on the medium when this returns.
func (d *Daemon) writeStick(ctx context.Context, mount string, e *export) (exportProgress, error) {
	path := filepath.Join(mount, d.exportName(e.format))
	if _, err := os.Lstat(path); err == nil {
		return exportProgress{}, fmt.Errorf("%s is there already — hint: try again in a second", path)
	}
	n, err := e.file(ctx, path)
	last := exportProgress{Bytes: n.bytes, Readings: n.readings, File: path}
	switch {
	case errors.Is(err, buffer.ErrLeftOut):
		last.LeftOut, err = err.Error(), nil
	case errors.Is(err, syscall.ENOSPC):
		err = errors.New("the stick is full, and nothing was left on it — hint: take a larger one, or export as packed")
	case errors.Is(err, syscall.EFBIG):
		err = errors.New("the file would be larger than this file system allows, and nothing was left — hint: export as packed, or format the stick with exFAT or ext4")
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		err = fmt.Errorf("the gateway may not write to %s — hint: docs/operate/support.md says how to mount sticks", mount)
	case err != nil:
		err = fmt.Errorf("nothing was left on the stick: %w — hint: was it pulled? Try again, or another one", err)
	}
	if err == nil {
		d.log.Info("readings were exported", "file", path, "n", n.readings, "bytes", n.bytes)
	}
	return last, err
}

// A reading in a text takes no less than this, in bytes.
const leastLine = 50

// fits reports whether there is such a stick and, as far as can be told before,
// room on it.
func (d *Daemon) fits(host sticks.Host, mount string, e *export) error {
	list, err := host.List(d.current().cfg.Gateway.DataDir)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(list, func(s sticks.Stick) bool { return s.Mount == mount })
	if at < 0 {
		return api.NotFound(fmt.Errorf("no stick is mounted at %q — hint: plug one in and wait until it is mounted", mount))
	}
	if list[at].ReadOnly {
		return fmt.Errorf("the stick at %s is mounted read-only — hint: has it a switch? Is its file system damaged?", mount)
	}
	want := e.least()
	if free := list[at].Free; want > free {
		return fmt.Errorf("the stick has %s free, and this takes %s or more — hint: take a larger one, or export as packed", conf.Size(free).Approx(), conf.Size(want).Approx())
	}
	return nil
}

// least is how many bytes the copy takes at the least, as far as can be told
// without reading the journal: nothing, if only some times are asked for.
func (e *export) least() int64 {
	if e.query.From != 0 || e.query.To != 0 {
		return 0
	}
	nobody := buffer.Sink{} // has nothing, so that everything waits for it
	if s, ok := e.inventory.Sink(e.query.Undelivered); ok {
		nobody = s
	}
	readings, bytes := e.inventory.Waiting(nobody)
	if e.format == "packed" {
		return bytes
	}
	return int64(readings) * leastLine
}
