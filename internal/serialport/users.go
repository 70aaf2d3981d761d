package serialport

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
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

// heldBy names the program that has the lock of the device, or else one that has
// it open.
func (h Host) heldBy(device string) string {
	if pid := h.lockedBy(device); pid > 0 {
		return h.program(pid)
	}
	return h.users().of(device)
}

// lockedBy looks into /proc/locks, whose lines are like this:
//
//	1: FLOCK  ADVISORY  WRITE 4711 00:05:1234 0 EOF
//
// with the process, and the file by the numbers of its file system and itself.
func (h Host) lockedBy(device string) (pid int) {
	var st unix.Stat_t
	if unix.Stat(device, &st) != nil {
		return 0
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
	text, _ := os.ReadFile(h.proc("locks"))
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) >= 6 && fields[1] == "FLOCK" && fields[5] == file {
			pid, _ = strconv.Atoi(fields[4])
			return pid
		}
	}
	return 0
}

// lockFile returns the process that says in a file, as UUCP did, that it has the
// device; 0 if none does, or that process is gone.
func (h Host) lockFile(device string) int {
	text, _, _ := strings.Cut(attribute(h.run("lock"), "LCK.."+filepath.Base(device)), " ") // the program's name may follow
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 0 || pid == os.Getpid() || !exists(h.proc(strconv.Itoa(pid))) {
		return 0
	}
	return pid
}

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
