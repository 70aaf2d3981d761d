package daemon

import (
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/fileout"
)

// FileUplink is [[uplink.file]]: files in a folder, on a stick for example.
type FileUplink struct {
	// Name names the uplink, its place in the buffer, and its files.
	Name string `toml:"name"`
	Dir  string `toml:"dir"`
	// RequireMount wants a file system of its own at Dir: without it, what is
	// meant for a stick that is not there would fill the disk below.
	RequireMount bool `toml:"require_mount"`
	// Encoding is packed, json (a document a line) or ndjson (a reading a line).
	Encoding string `toml:"encoding"`
	// MaxSize and MaxAge say when a file is finished and another one begun.
	MaxSize conf.Size     `toml:"max_size"`
	MaxAge  conf.Duration `toml:"max_age"`
	// Keep and KeepBytes bound the finished files; 0 keeps all.
	Keep      int       `toml:"keep"`
	KeepBytes conf.Size `toml:"keep_bytes"`
	// Compression is none, gzip or zstd, for finished files of text.
	Compression string `toml:"compression"`
	// MinFree stays free, beside what the buffer may still need there.
	MinFree conf.Size `toml:"min_free"`
	// MaxBatch bounds what is written at once, Window how many of those share a
	// sync, and Timeout how long they wait for the disk.
	MaxBatch conf.Size     `toml:"max_batch"`
	Window   int           `toml:"window"`
	Timeout  conf.Duration `toml:"timeout"`
}

// SetDefaults makes f what an empty [[uplink.file]] would be.
func (f *FileUplink) SetDefaults() {
	u := defaultUpstream()
	*f = FileUplink{
		Encoding: u.Encoding, MaxSize: 64 * conf.MiB, MaxAge: conf.Duration(time.Hour), Compression: "none",
		MinFree: 64 * conf.MiB, MaxBatch: u.MaxBatch, Window: u.Window, Timeout: u.Timeout,
	}
}

func (f FileUplink) settings() Upstream {
	u := defaultUpstream()
	u.Name, u.Encoding, u.MaxBatch, u.Window, u.Timeout = f.Name, f.Encoding, f.MaxBatch, f.Window, f.Timeout
	return u
}

// piecewise says that parts of a message are records of their own.
func (FileUplink) piecewise() {}

func (f FileUplink) target() string { return "file://" + f.Dir }

func (f FileUplink) validate(r refuse, key string) {
	f.settings().validateSettings(r, key, "packed", "json", "ndjson")
	r.oneOf(key+".compression", f.Compression, "none", "gzip", "zstd")
	between(r, key+".max_size", f.MaxSize, 64*conf.KiB, 2*conf.GiB)
	between(r, key+".max_age", f.MaxAge, conf.Duration(time.Second), conf.Duration(366*24*time.Hour))
	between(r, key+".keep", f.Keep, 0, 1_000_000)
	switch {
	case f.Dir == "":
		r(key+".dir", `write for example "/media/usb"`, "is missing")
	case !filepath.IsAbs(f.Dir):
		r(key+".dir", `write for example "/media/usb"`, "%q is no absolute path", f.Dir)
	}
	if f.Compression != "none" && f.Encoding == "packed" {
		r(key+".compression", `write "none": packed is smaller already`, "packed files are not compressed once more")
	}
}

func (f FileUplink) sink(w way) (uplink.Sink, error) {
	cfg := fileout.Config{
		Dir: f.Dir, Name: f.Name, MaxSize: int64(f.MaxSize), MaxAge: time.Duration(f.MaxAge),
		Keep: f.Keep, KeepBytes: int64(f.KeepBytes), MinFree: int64(f.MinFree), Reserved: w.reserved,
		Compress: map[string]fileout.Compression{"gzip": fileout.Gzip, "zstd": fileout.Zstd}[f.Compression],
	}
	if f.RequireMount {
		cfg.Mount = f.Dir
	}
	return fileout.New(cfg)
}

// reservation returns how many bytes the buffer may still need on the file system
// of a folder: who writes there must leave them.
func reservation(c Config) func(dir string) int64 {
	journal := filepath.Join(c.Gateway.DataDir, "journal")
	return func(dir string) int64 {
		if !sameFileSystem(dir, journal) {
			return 0
		}
		left := int64(c.Buffer.MaxBytes)
		files, err := os.ReadDir(journal)
		if err != nil {
			return left
		}
		for _, f := range files {
			if info, err := f.Info(); err == nil && info.Mode().IsRegular() {
				left -= info.Size()
			}
		}
		return max(left, 0)
	}
}

func sameFileSystem(a, b string) bool {
	var at, other syscall.Stat_t
	return syscall.Stat(a, &at) == nil && syscall.Stat(b, &other) == nil && at.Dev == other.Dev
}
