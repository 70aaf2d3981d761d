// Package cgroup tells how much memory the control groups of this process leave it:
// what MemoryMax= of a unit, or a container, sets. Beyond that the kernel kills it.
//
// The formats are those of the kernel: cgroups(7), Documentation/admin-guide/cgroup-v2.rst
// and Documentation/admin-guide/cgroup-v1/memory.rst.
package cgroup

import (
	"bytes"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

const (
	// maxList bounds what is read of /proc/self/cgroup, maxNumber that of a limit.
	maxList   = 64 << 10
	maxNumber = 64
	// unlimited is what version 1 says at least where there is no limit: the largest
	// number of whole pages.
	unlimited = math.MaxInt64 &^ (1<<16 - 1)
)

// Memory returns the smallest limit in bytes that any group around this process sets.
// It is false if there is none, or none is to be seen.
func Memory() (limit int64, ok bool) { return memory(os.DirFS("/")) }

func memory(root fs.FS) (limit int64, ok bool) {
	limit = math.MaxInt64
	for _, file := range limits(string(read(root, "proc/self/cgroup", maxList))) {
		n, err := strconv.ParseInt(string(bytes.TrimSpace(read(root, file, maxNumber))), 10, 64)
		if err == nil && n > 0 && n < min(limit, unlimited) {
			limit, ok = n, true
		}
	}
	return limit, ok
}

// limits returns the files that tell a limit, of the groups that a process is in and
// all around them: for each line number:controllers:path. Version 2 has the number 0
// and no controllers.
func limits(groups string) (files []string) {
	for line := range strings.Lines(groups) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) < 3 {
			continue
		}
		mount, name := "sys/fs/cgroup", "memory.max"
		switch {
		case fields[0] == "0" && fields[1] == "":
		case strings.Contains(","+fields[1]+",", ",memory,"):
			mount, name = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// In a container, the path may begin outside of what it sees.
		for at := path.Clean("/" + fields[2]); ; at = path.Dir(at) {
			files = append(files, path.Join(mount, at, name))
			if at == "/" || len(files) > maxFiles {
				break
			}
		}
	}
	return files[:min(len(files), maxFiles)]
}

// maxFiles is how many of them are looked at: nobody nests as deep.
const maxFiles = 64

// read returns a file, cut off at most bytes; nothing for one that cannot be read.
func read(root fs.FS, name string, most int64) []byte {
	f, err := root.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil
	}
	return text
}
