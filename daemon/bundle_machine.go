package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/serialport"
	"github.com/tidegate/tidegate/internal/starts"
	"github.com/tidegate/tidegate/internal/sticks"
)

// machineFiles is what a bundle tells of the machine, and what its checks find,
// which takes its time. The links are not tried: that may cost money.
func machineFiles(cfg Config) []bundleFile {
	text := func(write func(*bytes.Buffer)) func(context.Context) ([]byte, error) {
		return func(context.Context) ([]byte, error) {
			var b bytes.Buffer
			write(&b)
			return b.Bytes(), nil
		}
	}
	return []bundleFile{
		{"version.txt", "versions of the program and the system, and the clock", text(writeVersions)},
		{"network.txt", "interfaces with their addresses, routes, name servers", text(writeInterfaces)},
		{"starts.txt", "how the last starts went, and what the program said when it last broke down", text(func(b *bytes.Buffer) {
			quoteFiles(b, filepath.Join(cfg.Gateway.DataDir, "starts.json"), filepath.Join(cfg.Gateway.DataDir, starts.CrashFile))
		})},
		{"disks.txt", "file systems, and what is free", text(func(b *bytes.Buffer) { writeDisks(b, cfg.Gateway.DataDir) })},
		{"memory.txt", "memory of the machine and of the program that wrote this", text(func(b *bytes.Buffer) { quoteFiles(b, "/proc/meminfo", "/proc/self/status") })},
		{"serial.json", "serial ports", func(context.Context) ([]byte, error) { return indented(serialport.Host{}.List()) }},
		{"sticks.json", "removable media", func(context.Context) ([]byte, error) { return indented(sticks.Host{}.List(cfg.Gateway.DataDir)) }},
		{"check.txt", "what \"tidegate check\" finds, but for what is beyond the links", func(ctx context.Context) ([]byte, error) {
			ctx, cancel := context.WithTimeout(ctx, bundleCheck)
			defer cancel()
			var k checklist
			k.machine(ctx, cfg)
			var b bytes.Buffer
			err := WriteFindings(&b, k.findings)
			return b.Bytes(), err
		}},
	}
}

func writeVersions(b *bytes.Buffer) {
	fmt.Fprintf(b, "tidegate %s %s/%s %s\n", Version, runtime.GOOS, runtime.GOARCH, runtime.Version())
	fmt.Fprintf(b, "clock %s, %s\n", time.Now().Format(time.RFC3339Nano), clockState())
	cpu, _ := os.ReadFile("/proc/cpuinfo") // what is missing is no news
	seen := map[string]bool{}
	for line := range strings.Lines(string(cpu)) {
		name, value, _ := strings.Cut(line, ":")
		switch name = strings.TrimSpace(name); {
		case seen[name]:
		case name == "model name" || name == "Model" || name == "Hardware" || name == "Revision" || name == "CPU part" || name == "isa":
			seen[name] = true
			fmt.Fprintf(b, "%s: %s\n", name, strings.TrimSpace(value))
		}
	}
	fmt.Fprintf(b, "%d processors\n", runtime.NumCPU())
	quoteFiles(b, "/proc/version", "/proc/uptime", "/proc/loadavg", "/proc/device-tree/model", "/etc/os-release", "/etc/timezone")
}

// quoteFiles adds files of the system, each bounded.
func quoteFiles(b *bytes.Buffer, paths ...string) {
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			continue // not every system has it
		}
		text, _ := io.ReadAll(io.LimitReader(f, 32<<10)) // as much as there is
		f.Close()
		fmt.Fprintf(b, "\n== %s\n%s\n", path, bytes.Trim(text, "\x00\n"))
	}
}

func writeInterfaces(b *bytes.Buffer) {
	all, err := net.Interfaces()
	if err != nil {
		fmt.Fprintln(b, err)
	}
	for _, i := range all[:min(len(all), 100)] {
		addrs, _ := i.Addrs() // it may have gone
		fmt.Fprintf(b, "%-12s %s mtu %d %s %v\n", i.Name, i.Flags, i.MTU, i.HardwareAddr, addrs)
	}
	quoteFiles(b, "/proc/net/route", "/proc/net/ipv6_route", "/etc/resolv.conf")
}

func writeDisks(b *bytes.Buffer, dataDir string) {
	for _, path := range []string{"/", "/boot", "/tmp", "/run", dataDir} {
		var st syscall.Statfs_t
		if err := syscall.Statfs(path, &st); err != nil {
			fmt.Fprintf(b, "%s: %v\n", path, err)
			continue
		}
		fmt.Fprintf(b, "%-24s %s free of %s, %d of %d inodes\n", path, conf.Size(int64(st.Bavail)*int64(st.Bsize)).Approx(),
			conf.Size(int64(st.Blocks)*int64(st.Bsize)).Approx(), st.Ffree, st.Files)
	}
	quoteFiles(b, "/proc/self/mountinfo", "/proc/diskstats")
}
