// Command man writes the manual pages: of the programs, from what they say of
// themselves, and of the configuration, from the text that "tidegate config" prints.
//
//	go run ./packaging/man -bin DIR -o DIR [-version VERSION]
//
// DIR of -bin holds the programs, built for this machine. SOURCE_DATE_EPOCH is the
// pages' date.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/packaging/usage"
)

func main() {
	bin := flag.String("bin", "bin", "`DIR` of the programs")
	out := flag.String("o", ".", "`DIR` for the pages")
	version := flag.String("version", "", "the `VERSION` that the pages tell")
	flag.Parse()
	if err := write(context.Background(), *bin, *out, *version); err != nil {
		fmt.Fprintf(os.Stderr, "man: %v\n", err)
		os.Exit(1)
	}
}

// write makes all pages.
func write(ctx context.Context, bin, out, version string) error {
	date, err := dateOf(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, about := range pages() {
		p, err := usage.Read(ctx, filepath.Join(bin, about.program))
		if err != nil {
			return err
		}
		text := programPage(p, about, date, version)
		if err := os.WriteFile(filepath.Join(out, about.program+".1"), text, 0o644); err != nil {
			return err
		}
	}
	config, err := exec.CommandContext(ctx, filepath.Join(bin, "tidegate"), "config").Output()
	if err != nil {
		return fmt.Errorf("tidegate config: %w", err)
	}
	text, err := configPage(string(config), date, version)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "tidegate.toml.5"), text, 0o644)
}

// dateOf returns the day of a SOURCE_DATE_EPOCH, empty if there is none.
func dateOf(epoch string) (string, error) {
	if epoch == "" {
		return "", nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return "", fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC().Format(time.DateOnly), nil
}

// about is what a page has beside what the program says.
type about struct {
	program string
	files   [][2]string // path, what it is
	see     string
}

func pages() []about {
	return []about{
		{"tidegate", [][2]string{
			{"/etc/tidegate/tidegate.toml", "The configuration."},
			{"/etc/credstore/tidegate/NAME", "A secret that the configuration calls \"credential:NAME\"; root's, and handed to the gateway by systemd."},
			{"/var/lib/tidegate", "Readings, and whatever else must survive a power cut."},
			{"/var/lib/tidegate/admin.sock", "Where commands reach the running gateway."},
			{"/usr/share/doc/tidegate/examples", "The configuration with every key; a dashboard for Grafana and alerts for Prometheus."},
		}, "tidegate.toml(5), tidegate-cloud(1), firmware-sim(1), systemctl(1), journalctl(1)"},
		{"tidegate-cloud", nil, "tidegate(1), firmware-sim(1)"},
		{"firmware-sim", nil, "tidegate(1), tidegate-cloud(1)"},
	}
}
