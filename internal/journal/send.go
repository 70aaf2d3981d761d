package journal

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	closed      = -1       // instead of a file descriptor
	longestLine = 8 << 10  // bytes that go to the fallback
	keptBuffer  = 64 << 10 // bytes of memory that are kept for the next record
)

// sender is shared by a Log and all that are made of it.
type sender struct {
	identifier, prefix, socket string
	fallback                   io.Writer

	mu   sync.Mutex
	fd   int
	buf  []byte
	lost uint64 // records that nobody has taken, since the last one that was
}

// send sends an entry: as a datagram, in a sealed file if that is too long, as a line of
// text if the journal takes neither.
func (s *sender) send(priority int, text string, e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := append(s.buf[:0], "PRIORITY="...)
	b = append(strconv.AppendInt(b, int64(priority), 10), '\n')
	b = appendField(b, "SYSLOG_IDENTIFIER", s.identifier)
	b = appendField(b, "MESSAGE", text)
	b = append(b, e.fields...)
	if e.leftOut > 0 {
		b = appendField(b, s.prefix+"FIELDS_LEFT_OUT", strconv.Itoa(e.leftOut))
	}
	if s.lost > 0 {
		b = appendField(b, s.prefix+"LINES_LOST", strconv.FormatUint(s.lost, 10))
	}
	if s.deliver(b) == nil || s.line(priority, text) == nil {
		s.lost = 0
	} else {
		s.lost++
	}
	if s.buf = b; cap(b) > keptBuffer {
		s.buf = nil
	}
}

// deliver sends an entry to the journal if it takes it at once. The socket is never
// connected: a journal that was started again is simply there again.
func (s *sender) deliver(b []byte) (err error) {
	if s.fd == closed {
		if s.fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			s.fd = closed
			return err
		}
	}
	err = s.datagram(b, nil)
	if !errors.Is(err, unix.EMSGSIZE) && !errors.Is(err, unix.ENOBUFS) {
		return err
	}
	file, err := sealed(b)
	if err != nil {
		return err
	}
	defer file.Close() // the datagram holds a reference
	return s.datagram(nil, unix.UnixRights(int(file.Fd())))
}

func (s *sender) datagram(b, rights []byte) error {
	to := &unix.SockaddrUnix{Name: s.socket}
	for {
		err := unix.Sendmsg(s.fd, b, rights, to, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// sealed is a file in memory that nobody can change any more: the journal reads no other.
func sealed(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("journal-entry", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "journal-entry")
	_, err = file.Write(b)
	if err == nil {
		_, err = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// line writes a record to the fallback, its priority in front.
func (s *sender) line(priority int, text string) error {
	var b bytes.Buffer
	b.WriteString("<" + strconv.Itoa(priority) + ">")
	if s.lost > 0 {
		b.WriteString("(" + strconv.FormatUint(s.lost, 10) + " lines before are lost) ")
	}
	b.WriteString(clip(text, longestLine))
	b.WriteByte('\n')
	_, err := s.fallback.Write(b.Bytes())
	return err
}

// Stream writes to a stream socket without ever waiting for room: os.Stderr under
// systemd, which would hold the program up when nobody reads it, and end it by SIGPIPE
// when nobody is there. What does not fit is an error.
type Stream struct {
	FD int

	torn bool // the last line was cut
}

// Write implements io.Writer. It is called by one goroutine at a time.
func (s *Stream) Write(line []byte) (int, error) {
	b := line
	if s.torn {
		b = append([]byte{'\n'}, line...)
	}
	for {
		n, err := unix.SendmsgN(s.FD, b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, err
		}
		if s.torn = n < len(b); s.torn {
			return min(n, len(line)), io.ErrShortWrite
		}
		return len(line), nil
	}
}
