package serialport

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// users maps devices to the programs that have them open.
type users map[string]string

func (u users) of(device string) string {
	if by, ok := u[device]; ok {
		return by
	}
	if real, err := filepath.EvalSymlinks(device); err == nil {
		return u[real]
	}
	return ""
}

// users looks through /proc. Descriptors of other users' programs are seen by
// root only.
func (h Host) users() users {
	found := make(users)
	processes, _ := os.ReadDir(h.proc())
	// This program comes last: when it asks who holds a port, it has it open itself.
	self := strconv.Itoa(os.Getpid())
	if i := slices.IndexFunc(processes, func(e os.DirEntry) bool { return e.Name() == self }); i >= 0 {
		own := processes[i]
		processes = append(slices.Delete(processes, i, i+1), own)
	}
	for _, process := range processes {
		pid, err := strconv.Atoi(process.Name())
		if err != nil {
			continue
		}
		folder := h.proc(process.Name(), "fd")
		descriptors, _ := os.ReadDir(folder)
		for _, d := range descriptors {
			target, err := os.Readlink(filepath.Join(folder, d.Name()))
			if err != nil || !strings.HasPrefix(target, h.dev()+"/") && !strings.HasPrefix(target, "/dev/") || found[target] != "" {
				continue
			}
			found[target] = h.program(pid)
		}
	}
	return found
}

// heldBy names the program that has the device open, other than this one.
func (h Host) heldBy(device string) string { return h.users().of(device) }

// program names a process as ps does.
func (h Host) program(pid int) string {
	name := printable(attribute(h.proc(strconv.Itoa(pid)), "comm"))
	if pid == os.Getpid() {
		name = "tidegate itself"
	}
	if name == "" {
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("%s (process %d)", name, pid)
}
