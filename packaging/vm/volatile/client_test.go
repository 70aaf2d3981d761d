package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// client speaks the protocol with its own hands: numbers are written out, so that
// a mistake in the server's is found.
type client struct {
	conn   net.Conn
	in     *bufio.Reader
	cookie uint64
}

// hello negotiates with EXPORT_NAME and no padding.
func hello(conn net.Conn) (*client, error) {
	c := &client{conn: conn, in: bufio.NewReader(conn)}
	var greeting [18]byte
	if _, err := io.ReadFull(c.in, greeting[:]); err != nil {
		return nil, err
	}
	if got := string(greeting[:]); got != "NBDMAGICIHAVEOPT\x00\x03" {
		return nil, fmt.Errorf("greeted with %q", got)
	}
	if _, err := io.WriteString(conn, "\x00\x00\x00\x03IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x00"); err != nil {
		return nil, err
	}
	var about [10]byte
	if _, err := io.ReadFull(c.in, about[:]); err != nil {
		return nil, err
	}
	if flags := binary.BigEndian.Uint16(about[8:]); flags != 0x16d {
		return nil, fmt.Errorf("the flags are %#x", flags)
	}
	return c, nil
}

// do sends a request and returns the error number of its answer; into takes the
// data of a read.
func (c *client) do(kind, flags uint16, at int64, length int, data, into []byte) (code uint32, err error) {
	c.cookie++
	head := binary.BigEndian.AppendUint32(nil, 0x25609513)
	head = binary.BigEndian.AppendUint16(head, flags)
	head = binary.BigEndian.AppendUint16(head, kind)
	head = binary.BigEndian.AppendUint64(head, c.cookie)
	head = binary.BigEndian.AppendUint64(head, uint64(at))
	head = binary.BigEndian.AppendUint32(head, uint32(length))
	if _, err := c.conn.Write(append(head, data...)); err != nil {
		return 0, err
	}
	var answer [16]byte
	if _, err := io.ReadFull(c.in, answer[:]); err != nil {
		return 0, err
	}
	word := binary.BigEndian
	if word.Uint32(answer[:]) != 0x67446698 || word.Uint64(answer[8:]) != c.cookie {
		return 0, fmt.Errorf("answered with % x", answer)
	}
	if code = word.Uint32(answer[4:]); code != 0 {
		return code, nil
	}
	_, err = io.ReadFull(c.in, into)
	return 0, err
}

// must is do for what has to be answered with no error.
func (c *client) must(t testing.TB, kind, flags uint16, at int64, length int, data, into []byte) {
	t.Helper()
	if code, err := c.do(kind, flags, at, length, data, into); code != 0 || err != nil {
		t.Fatalf("request %d at %d, %d bytes: error %d, %v", kind, at, length, code, err)
	}
}

// blank makes a disk of so many sectors of zeros.
func blank(t testing.TB, sectors int) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, make([]byte, sectors*sector), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func opened(t testing.TB, sectors, most int, seed uint64, lie bool) *disk {
	t.Helper()
	d, err := open(blank(t, sectors), most, seed, lie)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.file.Close() })
	return d
}

// connected is a client of a disk that has no socket.
func connected(t testing.TB, d *disk) *client {
	t.Helper()
	near, far := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- converse(d, far); far.Close() }()
	c, err := hello(near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); <-ended })
	return c
}

// filled is n sectors of one value.
func filled(value byte, n int) []byte {
	p := make([]byte, n*sector)
	for i := range p {
		p[i] = value
	}
	return p
}
