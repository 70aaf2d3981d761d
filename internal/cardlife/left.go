package cardlife

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// eraseCycles is how often a cell is assumed to bear being erased: the low end
// of what makers state for cards of three bits a cell.
const eraseCycles = 1000

// Left says how long the device under dir lasts if perDay bytes are written to
// it every day, for people: "about 12 years (1000 erasures a cell assumed)". It
// is empty when the size of the device or the rate is not known. What the device
// tells of its wear so far is taken off.
func Left(dir string, perDay float64) string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return ""
	}
	return left("/sys", unix.Major(st.Dev), unix.Minor(st.Dev), perDay)
}

func left(sys string, major, minor uint32, perDay float64) string {
	bears := endurance(sys, major, minor)
	if bears == 0 || perDay <= 0 {
		return ""
	}
	return word(bears/perDay) + fmt.Sprintf(" (%d erasures a cell assumed)", eraseCycles)
}

// Endurance returns how many bytes the device under dir is assumed to bear from now
// on: its size, a thousand times, less what it tells of its wear; 0 when its size is
// not known.
func Endurance(dir string) float64 {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return 0
	}
	return endurance("/sys", unix.Major(st.Dev), unix.Minor(st.Dev))
}

func endurance(sys string, major, minor uint32) float64 {
	block, err := filepath.EvalSymlinks(filepath.Join(sys, "dev/block", fmt.Sprintf("%d:%d", major, minor)))
	if err != nil {
		return 0
	}
	if _, err := os.Stat(filepath.Join(block, "partition")); err == nil {
		block = filepath.Dir(block)
	}
	text, err := os.ReadFile(filepath.Join(block, "size"))
	if err != nil {
		return 0
	}
	sectors, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return float64(sectors) * 512 * eraseCycles * (1 - worn(block))
}

// worn is the part of its life that the device says is used, 0 if it does not
// tell.
func worn(block string) float64 {
	text, err := os.ReadFile(filepath.Join(block, "device/life_time"))
	if err != nil {
		return 0
	}
	return min(float64(worst(string(text)))/10, 1)
}

func word(days float64) string {
	switch years := days / 365; {
	case years > 100:
		return "more than 100 years"
	case years >= 2:
		return fmt.Sprintf("about %.0f years", years)
	case days >= 60:
		return fmt.Sprintf("about %.0f months", days/30)
	}
	return fmt.Sprintf("about %.0f days", days)
}
