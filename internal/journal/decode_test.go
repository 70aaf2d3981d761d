package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// field is one of an entry, as a journal reads it.
type field struct{ name, value string }

// decode reads an entry by the words of "Native Journal Protocol", and refuses what a
// journal would: it knows nothing of how this package writes.
func decode(b []byte) (fields []field, err error) {
	for len(b) > 0 {
		end := bytes.IndexAny(b, "=\n")
		if end <= 0 {
			return nil, fmt.Errorf("no name in %q", b)
		}
		name := string(b[:end])
		if err := valid(name); err != nil {
			return nil, err
		}
		var value []byte
		if b[end] == '=' {
			stop := bytes.IndexByte(b, '\n')
			if stop < 0 {
				return nil, fmt.Errorf("%s does not end", name)
			}
			value, b = b[end+1:stop], b[stop+1:]
		} else {
			if b = b[end+1:]; len(b) < 8 {
				return nil, fmt.Errorf("%s has no length", name)
			}
			n := binary.LittleEndian.Uint64(b)
			if b = b[8:]; n >= uint64(len(b)) || b[n] != '\n' {
				return nil, fmt.Errorf("%s: %d bytes are not followed by a newline", name, n)
			}
			value, b = b[:n], b[n+1:]
		}
		fields = append(fields, field{name, string(value)})
	}
	return fields, nil
}

// valid says what is wrong with the name of a field that a client may send.
func valid(name string) error {
	if len(name) > 64 {
		return fmt.Errorf("%s has more than 64 characters", name)
	}
	if c := name[0]; c == '_' || '0' <= c && c <= '9' {
		return fmt.Errorf("%s begins with %c", name, c)
	}
	for _, c := range []byte(name) {
		if c != '_' && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return fmt.Errorf("%s has a %q", name, c)
		}
	}
	return nil
}

// values returns those of the fields of a name.
func values(fields []field, name string) (all []string) {
	for _, f := range fields {
		if f.name == name {
			all = append(all, f.value)
		}
	}
	return all
}

// journald is a socket that takes entries as systemd's journal does.
type journald struct {
	t    *testing.T
	path string
	conn *net.UnixConn
	// files counts entries that came in a file.
	files int
}

func listen(t *testing.T) *journald {
	t.Helper()
	j := &journald{t: t, path: filepath.Join(t.TempDir(), "socket")}
	var err error
	if j.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: j.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.conn.Close() })
	return j
}

// next returns the next entry, which has been sent already.
func (j *journald) next() []field {
	j.t.Helper()
	b, rights := make([]byte, 1<<20), make([]byte, 64)
	n, r, flags, _, err := j.conn.ReadMsgUnix(b, rights)
	if err != nil || flags&unix.MSG_TRUNC != 0 {
		j.t.Fatal(err, flags)
	}
	if b = b[:n]; r > 0 {
		if n > 0 {
			j.t.Errorf("%d bytes came beside a file", n)
		}
		b = j.file(rights[:r])
	}
	fields, err := decode(b)
	if err != nil {
		j.t.Fatal(err)
	}
	return fields
}

// file reads the file that came: just the one, and sealed.
func (j *journald) file(rights []byte) []byte {
	j.t.Helper()
	j.files++
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		j.t.Fatal(messages, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		j.t.Fatal(fds, err)
	}
	file := os.NewFile(uintptr(fds[0]), "entry")
	defer file.Close()
	seals, err := unix.FcntlInt(file.Fd(), unix.F_GET_SEALS, 0)
	if want := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE; err != nil || seals&want != want {
		j.t.Errorf("the file has the seals %x: %v", seals, err)
	}
	info, err := file.Stat()
	if err != nil {
		j.t.Fatal(err)
	}
	b := make([]byte, info.Size())
	if _, err := file.ReadAt(b, 0); err != nil { // its offset is at the end
		j.t.Fatal(err)
	}
	return b
}
