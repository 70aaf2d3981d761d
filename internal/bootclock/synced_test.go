package bootclock

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forbid has the kernel answer a system call with EPERM, as a unit's SystemCallFilter=
// does, for the rest of this process (seccomp(2)).
func forbid(call uint32) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: call},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x50000 | uint32(unix.EPERM)}, // SECCOMP_RET_ERRNO
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},                   // SECCOMP_RET_ALLOW
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	const setModeFilter, everyThread = 1, 1
	if _, _, no := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, everyThread, uintptr(unsafe.Pointer(&filter))); no != 0 {
		return no
	}
	return nil
}

func TestWhoMayNotAskTheKernelLooksForTheMark(t *testing.T) {
	if os.Getenv("BOOTCLOCK_TEST") == "" {
		again := exec.Command(os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
		again.Env = append(os.Environ(), "BOOTCLOCK_TEST=1")
		said, err := again.CombinedOutput()
		t.Logf("%s", said)
		if err != nil {
			t.Error(err)
		}
		return
	}
	mark := filepath.Join(t.TempDir(), "set")
	if err := forbid(unix.SYS_ADJTIMEX); err != nil {
		t.Skipf("no filter of system calls here: %v", err)
	}
	if _, err := ask(); !errors.Is(err, unix.EPERM) {
		t.Fatalf("adjtimex is not forbidden: %v", err)
	}
	if synced(mark) {
		t.Error("synced without a mark")
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !synced(mark) {
		t.Error("not synced with a mark")
	}
}
