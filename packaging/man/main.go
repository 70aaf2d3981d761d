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
	program  string
	options  [][2]string // flag with its value, what the help's synopsis leaves out
	examples [][2]string // call, what for
	files    [][2]string // path, what it is
	see      string
}

func pages() []about {
	return []about{
		{program: "tidegate", examples: [][2]string{
			{"tidegate status", "What the gateway does, and what is wrong, most urgent first."},
			{"tidegate check", "Before a change and after one: what would go wrong, with a hint."},
			{"tidegate diagnose", "Why nothing arrives at the other side."},
			{"tidegate log -f -level warn", "What goes wrong, as it happens."},
			{"tidegate reload", "Take the changed configuration, without a restart."},
			{"tidegate trace boiler temp", "Where the newest reading of a series is."},
			{"tidegate ports", "What is plugged in, and under which names it stays the same."},
			{"tidegate plan -readings 20/s -outage 7d", "What buffer a week without a link takes."},
			{"tidegate diag -o support.tar.gz", "Pack what support wants to see, without secrets."},
		}, files: [][2]string{
			{"/etc/tidegate/tidegate.toml", "The configuration."},
			{"/etc/credstore/tidegate/NAME", "A secret that the configuration calls \"credential:NAME\"; root's, and handed to the gateway by systemd."},
			{"/var/lib/tidegate", "Readings, and whatever else must survive a power cut."},
			{"/var/lib/tidegate/admin.sock", "Where commands reach the running gateway."},
			{"/usr/share/doc/tidegate/examples", "The configuration with every key; a dashboard for Grafana and alerts for Prometheus."},
		}, see: "tidegate.toml(5), tidegate-cloud(1), firmware-sim(1), systemctl(1), journalctl(1)"},
		{program: "tidegate-cloud", options: [][2]string{
			{"-data DIR", "The folder of the store. One process has it open at a time."},
			{"-cert FILE, -key FILE", "Certificate and private key of TLS, in PEM: both, or neither. Without them tokens and readings travel in the clear."},
			{"-print", "Print a line for each delivery: gateway, epoch, lane, numbers, readings, duplicates and bytes."},
		}, files: [][2]string{
			{"/etc/default/tidegate-cloud", "Flags of \"run\" for the service, in one line: TIDEGATE_CLOUD_FLAGS=\"-listen 0.0.0.0:8440 -tokens FILE\"."},
			{"/etc/tidegate-cloud/credentials/NAME", "A secret, root's, that systemd hands to the service as /run/credentials/tidegate-cloud.service/tidegate-cloud_NAME."},
			{"/var/lib/tidegate-cloud", "The store of the service."},
		}, see: "tidegate(1), firmware-sim(1), systemctl(1)"},
		{program: "firmware-sim", see: "tidegate(1), tidegate-cloud(1)"},
	}
}
