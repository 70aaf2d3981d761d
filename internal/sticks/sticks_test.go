package sticks

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// machine is a sysfs with disks at their places.
func machine(t *testing.T, mounts string, disks map[string]string) Host {
	t.Helper()
	sys := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(sys, "dev/block"), 0o700); err != nil {
		t.Fatal(err)
	}
	for number, path := range disks {
		dir := filepath.Join(sys, "devices", path)
		removable := "0\n"
		if strings.Contains(path, "stick") {
			removable = "1\n"
		}
		disk := dir
		if strings.HasSuffix(path, "1") || strings.HasSuffix(path, "2") {
			disk = filepath.Dir(dir)
			write(filepath.Join(dir, "partition"), "1\n")
		}
		write(filepath.Join(disk, "removable"), removable)
		write(filepath.Join(disk, "device/vendor"), "Kingston\n")
		write(filepath.Join(disk, "device/model"), "DataTraveler 3.0  \n")
		if err := os.Symlink(dir, filepath.Join(sys, "dev/block", number)); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(sys, "mountinfo")
	write(file, mounts)
	return Host{Mounts: file, Sys: sys, Space: func(string) (int64, int64, error) { return 1000, 2000, nil }}
}

const mounts = `22 1 179:2 / / rw,relatime shared:1 - ext4 /dev/mmcblk0p2 rw
23 22 0:5 / /proc rw - proc proc rw
24 22 8:1 / /media/My\040stick rw,nosuid shared:2 master:1 - vfat /dev/sda1 rw,errors=remount-ro
25 22 8:1 / /mnt/again rw - vfat /dev/sda1 rw
26 22 8:17 / /run/media/disk ro,nosuid - ext4 /dev/sdb1 rw
27 22 8:33 / /var/lib/tidegate rw - ext4 /dev/sdc1 rw
28 22 8:17 /sub /bound rw - ext4 /dev/sdb1 rw
29 22 179:1 / /boot rw - vfat /dev/mmcblk0p1 rw
30 22 0:99 / /media/net rw - nfs server:/x rw
31 22 7:0 / /snap rw - squashfs /dev/loop0 ro
garbage
32 22 8:49 - ext4 /dev/sdd1
`

func TestOnlyWhatSomebodyMayPullIsAStick(t *testing.T) {
	h := machine(t, mounts, map[string]string{
		"179:2": "platform/mmc/mmcblk0/mmcblk0p2", "179:1": "platform/mmc/mmcblk0/mmcblk0p1",
		"8:1":  "pci/usb1/stick/sda/sda1",
		"8:17": "pci/usb2/disk/sdb/sdb1", // says that it is not removable
		"8:33": "pci/usb3/disk/sdc/sdc1", // holds the buffer
		"7:0":  "virtual/block/loop0",
	})
	got, err := h.List("/var/lib/tidegate/journal")
	if err != nil {
		t.Fatal(err)
	}
	want := []Stick{
		{Mount: "/media/My stick", Device: "sda1", Label: "Kingston DataTraveler 3.0", FileSystem: "vfat", Free: 1000, Size: 2000},
		{Mount: "/run/media/disk", Device: "sdb1", Label: "Kingston DataTraveler 3.0", FileSystem: "ext4", Free: 1000, Size: 2000, ReadOnly: true},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	without, err := h.List()
	if err != nil || len(without) != 3 {
		t.Errorf("when nothing is kept: %+v, %v", without, err)
	}
}

func TestAMachineThatStartsFromAStickKeepsIt(t *testing.T) {
	h := machine(t, "22 1 8:2 / / rw - ext4 /dev/sda2 rw\n23 22 8:1 / /boot rw - vfat /dev/sda1 rw\n", map[string]string{
		"8:2": "pci/usb1/stick/sda/sda2", "8:1": "pci/usb1/stick/sda/sda1",
	})
	if got, err := h.List(); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAStickThatIsPulledJustNowIsNone(t *testing.T) {
	h := machine(t, mounts, map[string]string{"8:1": "pci/usb1/stick/sda/sda1"})
	h.Space = func(string) (int64, int64, error) { return 0, 0, os.ErrNotExist }
	if got, err := h.List(); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestThisMachineCanBeAsked(t *testing.T) {
	if _, err := (Host{}).List(t.TempDir()); err != nil {
		t.Error(err)
	}
}

func FuzzMountsAreReadWithoutHarm(f *testing.F) {
	f.Add([]byte(mounts))
	f.Add([]byte(`1 2 8:1 /\04 /\777\040 rw - x \0 ro`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, m := range parse(text) {
			if m.number == "" || m.kind == "" || len(m.path) > len(text) {
				t.Errorf("%+v", m)
			}
		}
	})
}
