// Package cardlife asks the kernel how worn the medium under a folder is. eMMC
// devices tell an estimate in steps of a tenth of their life (JEDEC eMMC 5.0,
// DEVICE_LIFE_TIME_EST_TYP_A and _B); most SD cards tell nothing.
package cardlife

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Of says how much of the life of the device under dir is used, for people:
// "10 to 20 % worn". It is empty when the device does not tell.
func Of(dir string) string {
	return parse(estimates(dir))
}

// Used is the same as a number: the end of that tenth of the life, 0.2, and more
// than 1 when all of it is used; 0 when the device does not tell.
func Used(dir string) float64 { return float64(worst(estimates(dir))) / 10 }

// estimates returns what the device under dir tells.
func estimates(dir string) string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return ""
	}
	return of("/sys", unix.Major(st.Dev), unix.Minor(st.Dev))
}

// of looks below sys, the place of sysfs.
func of(sys string, major, minor uint32) string {
	block, err := filepath.EvalSymlinks(filepath.Join(sys, "dev/block", fmt.Sprintf("%d:%d", major, minor)))
	if err != nil {
		return ""
	}
	for _, device := range []string{block, filepath.Dir(block)} { // a partition lies in its device
		if text, err := os.ReadFile(filepath.Join(device, "device/life_time")); err == nil {
			return string(text)
		}
	}
	return ""
}

// parse reads the two estimates, "0x02 0x01", and words the worse.
func parse(text string) string {
	switch n := worst(text); n {
	case 0:
		return ""
	case 0x0b:
		return "worn out"
	default:
		return fmt.Sprintf("%d to %d %% worn", 10*(n-1), 10*n)
	}
}

// worst returns the worse of the estimates in tenths of the life, 0 for none.
func worst(text string) (n uint64) {
	for _, field := range strings.Fields(text) {
		tenths, err := strconv.ParseUint(strings.TrimPrefix(field, "0x"), 16, 8)
		if err != nil || tenths > 0x0b {
			return 0
		}
		n = max(n, tenths)
	}
	return n
}
