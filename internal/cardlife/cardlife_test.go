package cardlife

import (
	"os"
	"path/filepath"
	"testing"
)

func TestEstimatesAreWordedByTheWorse(t *testing.T) {
	for text, want := range map[string]string{
		"0x01 0x01\n": "0 to 10 % worn",
		"0x02 0x04\n": "30 to 40 % worn",
		"0x0b 0x01\n": "worn out",
		"0x00 0x00\n": "",
		"0x0c 0x01":   "",
		"hello":       "",
		"":            "",
	} {
		if got := parse(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestPartitionIsAsWornAsItsDevice(t *testing.T) {
	sys := t.TempDir()
	card := filepath.Join(sys, "devices/mmc0/block/mmcblk0")
	for _, dir := range []string{filepath.Join(card, "mmcblk0p2"), filepath.Join(card, "device"), filepath.Join(sys, "dev/block")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(card, "device/life_time"), []byte("0x03 0x01\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(card, "mmcblk0p2"), filepath.Join(sys, "dev/block/179:2")); err != nil {
		t.Fatal(err)
	}
	if got := of(sys, 179, 2); got != "20 to 30 % worn" {
		t.Errorf("got %q", got)
	}
	if got := of(sys, 1, 1); got != "" {
		t.Errorf("a device that is not there is %q", got)
	}
}
