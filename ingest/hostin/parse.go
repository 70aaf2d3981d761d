package hostin

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The formats are those of the kernel: proc(5), Documentation/filesystems/proc.rst,
// Documentation/driver-api/thermal/sysfs-api.rst and Documentation/hwmon/sysfs-interface.rst.

// firstNumber returns the number that a text begins with, if it is one that can be
// counted or measured here: finite, in decimals, and not below zero.
func firstNumber(text string) (float64, bool) {
	word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	if strings.Trim(word, "0123456789.") != "" {
		return 0, false
	}
	x, err := strconv.ParseFloat(word, 64)
	return x, err == nil && !math.IsInf(x, 0)
}

// ticks returns how long all processors together have been busy, and altogether,
// since the start: of /proc/stat. What they do for guests counts as their own.
func ticks(stat string) (busy, total uint64, ok bool) {
	line, _, _ := strings.Cut(stat, "\n")
	rest, ok := strings.CutPrefix(line, "cpu ")
	if !ok {
		return 0, 0, false
	}
	const idle, iowait, steal = 3, 4, 7
	fields := strings.Fields(rest)
	if len(fields) <= idle {
		return 0, 0, false
	}
	for i, f := range fields[:min(len(fields), steal+1)] {
		n, err := strconv.ParseUint(f, 10, 48) // 8 of them do not overflow
		if err != nil {
			return 0, 0, false
		}
		total += n
		if i != idle && i != iowait {
			busy += n
		}
	}
	return busy, total, true
}

// memory returns how many kB can be used without swapping, and how many there are:
// of /proc/meminfo.
func memory(meminfo string) (available, total uint64, ok bool) {
	for line := range strings.Lines(meminfo) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "MemTotal":
			total = kilobytes(value)
		case "MemAvailable":
			available = kilobytes(value)
			ok = true
		}
	}
	return available, total, ok && total > 0 && available <= total
}

// kilobytes returns n of " n kB", the most there is for what is not one.
func kilobytes(value string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
	if err != nil {
		return math.MaxUint64
	}
	return n
}

// celsius returns a temperature that the kernel tells in thousandths, unless no
// board can be as cold or as warm: some sensors say so when they have nothing to
// say.
func celsius(text string) (float64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return float64(n) / 1000, err == nil && n > -60_000 && n < 150_000
}

// hexadecimal returns a number with or without 0x.
func hexadecimal(text string) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(text), "0x"), 16, 64)
	return n, err == nil
}

// traffic is what an interface has brought and taken since it is there, in bytes.
type traffic struct {
	name    string
	in, out uint64
}

// maxName is how long the kernel lets the name of an interface be.
const maxName = 15

// interfaces returns those of /proc/net/dev.
func interfaces(dev string) (all []traffic) {
	for line := range strings.Lines(dev) {
		name, counts, found := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		fields := strings.Fields(counts)
		const in, out = 0, 8
		if !found || len(fields) <= out || name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsAny(name, "/ \t") || name == ".." || name == "." {
			continue
		}
		i := traffic{name: name}
		var errIn, errOut error
		i.in, errIn = strconv.ParseUint(fields[in], 10, 64)
		i.out, errOut = strconv.ParseUint(fields[out], 10, 64)
		if errIn == nil && errOut == nil {
			all = append(all, i)
		}
	}
	return all
}
