package daemon

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/hostin"
	"github.com/tidegate/tidegate/internal/conf"
)

// Host is [ingest.host]: what the gateway tells of itself among the devices.
type Host struct {
	// Every is the time between two looks; zero for never.
	Every conf.Duration `toml:"every"`
	// Keep stores and sends its readings as those of others. Else they are shown.
	Keep bool `toml:"keep"`
	// Device is its name among the devices.
	Device string `toml:"device"`
}

// defaultHost shows what the machine does, and spares flash and links: a link is
// precious.
func defaultHost() Host { return Host{Every: conf.Duration(10 * time.Second), Device: "gateway"} }

func (h Host) validate(r refuse) {
	if h.Every != 0 {
		between(r, "ingest.host.every", h.Every, conf.Duration(time.Second), conf.Duration(5*time.Minute))
	}
	if !isName(h.Device) {
		r("ingest.host.device", nameHint, "%q is no valid name", h.Device)
	}
}

// itself is what the page is told of it; nil if nothing is shown.
func (h Host) itself() *dashboard.Itself {
	if h.Every == 0 {
		return nil
	}
	return &dashboard.Itself{Device: h.Device, Kept: h.Keep}
}

// buildHost builds the door by which the machine itself comes in.
func (b *builder) buildHost(v vocabulary) error {
	h := b.cfg.Ingest.Host
	if h.Every == 0 {
		return nil
	}
	dir := b.cfg.Gateway.DataDir
	return b.door("host", of(h), v, func(vocabulary) (ingest.Source, []func(), error) {
		door := hostin.Config{Device: h.Device, Every: time.Duration(h.Every), Disk: func() (free, size uint64, err error) { return diskOf(dir) }}
		if !h.Keep {
			door.Show = b.hub.Show
		}
		return hostin.New(door), nil, nil
	})
}

// diskOf says how much of the file system of a folder is free for the gateway, and
// how large it is, in bytes.
func diskOf(dir string) (free, size uint64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, err
	}
	return fs.Bavail * uint64(fs.Bsize), fs.Blocks * uint64(fs.Bsize), nil
}
