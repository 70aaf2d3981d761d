package whole

import (
	"errors"
	"os"
	"syscall"
)

// Alone runs change while nobody else runs one in this folder: for who reads a file and
// writes it again with something changed. Who comes meanwhile waits, and finds the change
// of the one before; whoever is killed makes room. The lock is one on the folder itself,
// which nobody replaces and which leaves nothing behind.
func Alone(folder string, change func() error) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close() // and its lock
	for errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX), syscall.EINTR) {
	}
	return change()
}
