package firmwaresim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// pty is a pseudo terminal: the end of a serial line that is the device's. It
// has no speed and no parity; who writes to it must keep the time himself.
type pty struct {
	*os.File
	name string // of the other end
}

// openPty opens a new pseudo terminal whose other end passes bytes as they are.
func openPty() (*pty, error) {
	file, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	p := &pty{File: file}
	if err := p.control(p.prepare); err != nil {
		file.Close()
		return nil, fmt.Errorf("new pseudo terminal: %w", err)
	}
	// Until its other end was closed once, a pseudo terminal cannot say that
	// nobody has it open.
	other, err := os.OpenFile(p.name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		file.Close()
		return nil, err
	}
	other.Close()
	return p, nil
}

func (p *pty) prepare(fd int) error {
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return err
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return err
	}
	p.name = fmt.Sprintf("/dev/pts/%d", number)
	// On this end, the terminal of the other one is meant. An echo would send
	// the device its own bytes before a gateway has set its mode.
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

func (p *pty) control(do func(fd int) error) error {
	raw, err := p.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	if err := raw.Control(func(fd uintptr) { done = do(int(fd)) }); err != nil {
		return err
	}
	return done
}

// heard says whether anybody has the other end open.
func (p *pty) heard() bool {
	hungUp := false
	err := p.control(func(fd int) error {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		_, err := unix.Poll(fds, 0)
		for errors.Is(err, unix.EINTR) { // Go's own signals, now and then
			_, err = unix.Poll(fds, 0)
		}
		hungUp = fds[0].Revents&unix.POLLHUP != 0
		return err
	})
	return err == nil && !hungUp
}

// plug makes the symbolic link the name of the other end, in one step. A link
// that stands for another terminal, of a run that was killed, is replaced; nothing
// else is.
func (p *pty) plug(link string) error {
	switch old, err := os.Readlink(link); {
	case err == nil && !strings.HasPrefix(old, "/dev/pts/"):
		return fmt.Errorf("%s is there already and points to %s — hint: choose another name for the port", link, old)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s cannot become the name of a port: %w — hint: choose a name that is free", link, err)
	}
	fresh := filepath.Join(filepath.Dir(link), fmt.Sprintf(".%s.%d", filepath.Base(link), os.Getpid()))
	os.Remove(fresh)
	if err := os.Symlink(p.name, fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, link); err != nil {
		os.Remove(fresh)
		return err
	}
	return nil
}

// unplug takes the link away, if it is still this terminal's, and hangs up.
func (p *pty) unplug(link string) {
	if now, err := os.Readlink(link); err == nil && now == p.name {
		os.Remove(link)
	}
	p.Close()
}
