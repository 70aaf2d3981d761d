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
	if got := parse(of(sys, 179, 2)); got != "20 to 30 % worn" {
		t.Errorf("got %q", got)
	}
	if got := worst(of(sys, 179, 2)); got != 3 {
		t.Errorf("%d tenths are used", got)
	}
	if got := of(sys, 1, 1); got != "" {
		t.Errorf("a device that is not there is %q", got)
	}
}

func TestTheLifeThatIsLeftFollowsFromSizeRateAndWear(t *testing.T) {
	sys := t.TempDir()
	disk := filepath.Join(sys, "devices/mmcblk0")
	part := filepath.Join(disk, "mmcblk0p2")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(part, "partition"), "2\n")
	write(filepath.Join(disk, "size"), "62333952\n") // a card of 32 GB
	if err := os.MkdirAll(filepath.Join(sys, "dev/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(part, filepath.Join(sys, "dev/block/179:2")); err != nil {
		t.Fatal(err)
	}
	const assumed = " (1000 erasures a cell assumed)"
	for perDay, want := range map[float64]string{
		4e9: "about 22 years" + assumed, 400e9: "about 3 months" + assumed, 1e6: "more than 100 years" + assumed,
		1e12: "about 32 days" + assumed, 100e9: "about 11 months" + assumed, 0: "",
	} {
		if got := left(sys, 179, 2, perDay); got != want {
			t.Errorf("%g bytes a day: %q, want %q", perDay, got, want)
		}
	}
	write(filepath.Join(disk, "device/life_time"), "0x05 0x02\n")
	if got, want := left(sys, 179, 2, 4e9), "about 11 years"+assumed; got != want {
		t.Errorf("half worn: %q, want %q", got, want)
	}
	if got := left(sys, 8, 1, 4e9); got != "" {
		t.Errorf("no such device: %q", got)
	}
}
