// Package sticks finds the removable media that are mounted: what somebody may
// pull out and take away with readings on it.
//
// A medium counts as removable if the kernel says so (/sys/block/*/removable) or if
// it hangs on a USB port: disks there say that they are not. The disks that hold
// the system, or what the caller names, never count, wherever they hang.
package sticks

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Stick is a mounted file system on a removable medium.
type Stick struct {
	// Mount is the folder, Device the block device ("sda1").
	Mount  string `json:"mount"`
	Device string `json:"device"`
	// Label is the model of the medium as it calls itself; FileSystem is its kind
	// ("vfat").
	Label      string `json:"label"`
	FileSystem string `json:"file_system"`
	// Free and Size are in bytes.
	Free int64 `json:"free"`
	Size int64 `json:"size"`
	// ReadOnly says that nothing can be written there.
	ReadOnly bool `json:"read_only"`
}

// Host is where the kernel tells of its mounts and disks. The zero value is the
// machine itself.
type Host struct {
	// Mounts stands for /proc/self/mountinfo, Sys for /sys.
	Mounts, Sys string
	// Space returns the free and all bytes of a mounted file system.
	Space func(mount string) (free, size int64, err error)
}

// most bounds the mounts that are returned.
const most = 16

// List returns the sticks, in the order in which they were mounted; keep are paths
// on disks that do not count.
func (h Host) List(keep ...string) ([]Stick, error) {
	mounts, sys, space := h.Mounts, h.Sys, h.Space
	if mounts == "" {
		mounts = "/proc/self/mountinfo"
	}
	if sys == "" {
		sys = "/sys"
	}
	if space == nil {
		space = statfs
	}
	text, err := os.ReadFile(mounts)
	if err != nil {
		return nil, err
	}
	all := parse(text)
	var held []string // disks that the machine cannot do without
	for _, path := range append(keep, "/") {
		if m, ok := under(all, path); ok {
			held = append(held, disk(sys, m.number))
		}
	}
	found := []Stick{}
	for _, m := range all {
		d := disk(sys, m.number)
		known := slices.ContainsFunc(found, func(s Stick) bool { return s.Device == m.device || s.Mount == m.path })
		if d == "" || known || m.root != "/" || slices.Contains(held, d) || !removable(d) || len(found) == most {
			continue
		}
		s := Stick{Mount: m.path, Device: m.device, Label: label(d), FileSystem: m.kind, ReadOnly: m.readOnly}
		if s.Free, s.Size, err = space(m.path); err == nil { // it was pulled just now
			found = append(found, s)
		}
	}
	return found, nil
}

// mount is a line of mountinfo.
type mount struct {
	number, root, path, kind, device string
	readOnly                         bool
}

// parse reads mountinfo as proc(5) describes it; lines that are none are passed
// over.
func parse(text []byte) (all []mount) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 6 || len(right) < 3 {
			continue
		}
		options := strings.Split(left[5]+","+right[2], ",")
		all = append(all, mount{
			number: left[2], root: unescape(left[3]), path: unescape(left[4]), kind: right[0],
			device: filepath.Base(unescape(right[1])), readOnly: slices.Contains(options, "ro"),
		})
	}
	return all
}

// unescape replaces \040 and the like, by which the kernel writes blanks.
func unescape(text string) string {
	for i := 0; i+3 < len(text); i++ {
		if text[i] == '\\' {
			if c, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				text = text[:i] + string([]byte{byte(c)}) + text[i+4:]
			}
		}
	}
	return text
}

// under returns the mount that a path lies on: of those that contain it the
// longest, and of equal ones the last.
func under(all []mount, path string) (on mount, ok bool) {
	for _, m := range all {
		inside := path == m.path || strings.HasPrefix(path, strings.TrimSuffix(m.path, "/")+"/")
		if inside && len(m.path) >= len(on.path) {
			on, ok = m, true
		}
	}
	return on, ok
}

// disk returns the folder in sysfs of the disk with the device number, or of the
// one that the partition is on; "" if it is no block device.
func disk(sys, number string) string {
	dir, err := filepath.EvalSymlinks(filepath.Join(sys, "dev/block", number))
	if err != nil {
		return ""
	}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		return filepath.Dir(dir)
	}
	return dir
}

func removable(disk string) bool {
	flag, _ := os.ReadFile(filepath.Join(disk, "removable"))
	return strings.TrimSpace(string(flag)) == "1" || strings.Contains(disk, "/usb")
}

// label is what the disk calls itself.
func label(disk string) string {
	var words []string
	for _, file := range []string{"device/vendor", "device/model", "device/name"} {
		text, _ := os.ReadFile(filepath.Join(disk, file))
		words = append(words, strings.Fields(string(text))...)
	}
	return strings.ToValidUTF8(strings.Join(words, " "), "?")
}

func statfs(path string) (free, size int64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	block := int64(st.Bsize)
	return int64(st.Bavail) * block, int64(st.Blocks) * block, nil
}
