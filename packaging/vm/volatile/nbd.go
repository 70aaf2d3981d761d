package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Numbers of the protocol: doc/proto.md of the NetworkBlockDevice project, "Values".
// Everything on the wire is big-endian.
const (
	magicServer  = "NBDMAGIC"
	magicOption  = "IHAVEOPT"
	magicReply   = 0x3e889045565a9 // to an option
	magicRequest = 0x25609513
	magicAnswer  = 0x67446698 // to a request, simple

	fixedNewstyle, noZeroes = 1, 2 // handshake flags, of both sides

	optExportName, optAbort, optList, optInfo, optGo = 1, 2, 3, 6, 7

	repAck, repServer, repInfo         = 1, 2, 3
	repUnsupported, repInvalid, repBad = 1<<31 + 1, 1<<31 + 3, 1<<31 + 6 // the last: no such export

	infoExport, infoBlockSize = 0, 3

	cmdRead, cmdWrite, cmdDisconnect, cmdFlush, cmdTrim, cmdZeroes = 0, 1, 2, 3, 4, 6
	flagFUA, flagNoHole                                            = 1, 2

	errIO, errInvalid, errSpace = 5, 22, 28

	// What the disk can: flags, flush, FUA, trim, write zeroes, and a flush of one
	// connection covers what all have written.
	abilities = 1<<0 | 1<<2 | 1<<3 | 1<<5 | 1<<6 | 1<<8
)

// Bounds of what a peer may send.
const (
	maxOption  = 8 << 10  // bytes of an option's data
	maxOptions = 100      // before the disk is used
	maxRequest = 32 << 20 // bytes that a request reads or writes
)

// exportName is the disk's name; an empty one means the same.
const exportName = "disk"

// conversation is one connection. It needs two pieces of memory, whatever the
// peer claims.
type conversation struct {
	disk *disk
	in   *bufio.Reader
	out  *bufio.Writer
	buf  []byte // a piece
}

// converse serves a connection until the peer is done with it: nil, or it breaks
// off or breaks the rules.
func converse(d *disk, peer io.ReadWriter) error {
	c := &conversation{disk: d, in: bufio.NewReader(peer), out: bufio.NewWriter(peer), buf: make([]byte, piece)}
	use, err := c.negotiate()
	if err != nil || !use {
		return err
	}
	for {
		more, err := c.request()
		if err != nil || !more {
			return err
		}
	}
}

// negotiate is the fixed newstyle handshake; use says whether requests follow.
func (c *conversation) negotiate() (use bool, err error) {
	c.out.WriteString(magicServer + magicOption)
	c.put(uint16(fixedNewstyle | noZeroes))
	if err := c.out.Flush(); err != nil {
		return false, err
	}
	var flags uint32
	if err := c.get(&flags); err != nil {
		return false, err
	}
	if flags&^(fixedNewstyle|noZeroes) != 0 {
		return false, fmt.Errorf("the client sets unknown flags: %#x", flags)
	}
	for range maxOptions {
		var head struct {
			Magic          [8]byte
			Option, Length uint32
		}
		if err := c.get(&head); err != nil {
			return false, err
		}
		if string(head.Magic[:]) != magicOption || head.Length > maxOption {
			return false, fmt.Errorf("not an option, or one of more than %d bytes: %+v", maxOption, head)
		}
		data := make([]byte, head.Length)
		if _, err := io.ReadFull(c.in, data); err != nil {
			return false, err
		}
		use, done, err := c.option(head.Option, data, flags&noZeroes == 0)
		if err := errors.Join(err, c.out.Flush()); err != nil || done {
			return use, err
		}
	}
	return false, errors.New("the client negotiates without an end")
}

// option answers one option; done says that it was the last, and use that
// requests follow.
func (c *conversation) option(option uint32, data []byte, padding bool) (use, done bool, err error) {
	switch option {
	case optExportName:
		if name := string(data); name != "" && name != exportName {
			return false, true, fmt.Errorf("there is no export %q", name) // no answer is provided for
		}
		c.put(uint64(c.disk.size), uint16(abilities))
		if padding {
			c.put([124]byte{})
		}
		return true, true, nil
	case optAbort:
		c.reply(option, repAck)
		return false, true, nil
	case optList:
		if len(data) > 0 {
			c.reply(option, repInvalid)
			return false, false, nil
		}
		c.reply(option, repServer, uint32(len(exportName)), []byte(exportName))
		c.reply(option, repAck)
	case optInfo, optGo:
		name, ok := wanted(data)
		switch {
		case !ok:
			c.reply(option, repInvalid)
		case name != "" && name != exportName:
			c.reply(option, repBad)
		default:
			c.reply(option, repInfo, uint16(infoExport), uint64(c.disk.size), uint16(abilities))
			c.reply(option, repInfo, uint16(infoBlockSize), uint32(sector), uint32(4096), uint32(maxRequest))
			c.reply(option, repAck)
			return option == optGo, option == optGo, nil
		}
	default:
		c.reply(option, repUnsupported)
	}
	return false, false, nil
}

// wanted reads the data of an INFO or GO: a name, and kinds of information, all
// of which are sent anyway.
func wanted(data []byte) (name string, ok bool) {
	if len(data) < 4 {
		return "", false
	}
	n, rest := uint64(binary.BigEndian.Uint32(data)), data[4:]
	if uint64(len(rest)) < n+2 {
		return "", false
	}
	kinds := rest[n:]
	return string(rest[:n]), len(kinds) == 2+2*int(binary.BigEndian.Uint16(kinds))
}

// asked is a request.
type asked struct {
	Magic         uint32
	Flags, Type   uint16
	Cookie        uint64
	Offset        uint64
	Length        uint32
	beyond, wrong bool // reaches beyond the disk; must not be done
}

// request serves one request; more says that another one may follow. What it
// returns as an error ends the connection: the peers no longer understand each
// other.
func (c *conversation) request() (more bool, err error) {
	var head [28]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		if err == io.EOF {
			return false, nil // between two requests a client may simply go
		}
		return false, err
	}
	word := binary.BigEndian
	q := asked{Magic: word.Uint32(head[:]), Flags: word.Uint16(head[4:]), Type: word.Uint16(head[6:]),
		Cookie: word.Uint64(head[8:]), Offset: word.Uint64(head[16:]), Length: word.Uint32(head[24:])}
	if q.Magic != magicRequest {
		return false, fmt.Errorf("not a request: %#x", q.Magic)
	}
	size := uint64(c.disk.size)
	q.beyond = q.Offset > size || uint64(q.Length) > size-q.Offset
	q.wrong = q.beyond || q.Offset%sector != 0 || q.Length%sector != 0 || q.Flags&^(flagFUA|flagNoHole) != 0
	switch q.Type {
	case cmdRead:
		err = c.read(q)
	case cmdWrite:
		err = c.write(q)
	case cmdDisconnect:
		return false, nil
	case cmdFlush:
		c.disk.tally(func(n *counts) { n.Flushes++ })
		c.answer(q, c.disk.flush())
	case cmdTrim, cmdZeroes:
		c.zero(q)
	default:
		q.wrong, q.beyond = true, false
		c.answer(q, nil)
	}
	return true, errors.Join(err, c.out.Flush())
}

// read answers with the data, piece by piece. An error in the middle can no
// longer be answered.
func (c *conversation) read(q asked) error {
	c.disk.tally(func(n *counts) { n.Reads++ })
	q.wrong = q.wrong || q.Length > maxRequest
	for left, at := int(q.Length), int64(q.Offset); !q.wrong && left > 0; {
		p := c.buf[:min(left, piece)]
		err := c.disk.read(p, at)
		if at == int64(q.Offset) {
			c.answer(q, err)
			if err != nil {
				return nil
			}
		}
		if err != nil {
			return err
		}
		if _, err := c.out.Write(p); err != nil {
			return err
		}
		left, at = left-len(p), at+int64(len(p))
	}
	if q.wrong || q.Length == 0 {
		c.answer(q, nil)
	}
	return nil
}

// write takes the data, piece by piece: a write that is not answered may have
// been done in part.
func (c *conversation) write(q asked) error {
	if q.Length > maxRequest {
		return fmt.Errorf("a write of %d bytes, at most %d are taken", q.Length, maxRequest)
	}
	fua := q.Flags&flagFUA != 0
	c.disk.tally(func(n *counts) { n.Writes++; n.FUAs += one(fua) })
	var failed error
	for left, at := int(q.Length), int64(q.Offset); left > 0; {
		p := c.buf[:min(left, piece)]
		if _, err := io.ReadFull(c.in, p); err != nil {
			return err
		}
		if !q.wrong && failed == nil {
			failed = c.disk.write(p, at, fua)
		}
		left, at = left-len(p), at+int64(len(p))
	}
	c.answer(q, failed)
	return nil
}

// zero writes zeros, or trims, which is the same here.
func (c *conversation) zero(q asked) {
	fua := q.Flags&flagFUA != 0
	c.disk.tally(func(n *counts) {
		n.FUAs += one(fua)
		n.Trims += one(q.Type == cmdTrim)
		n.Zeroes += one(q.Type == cmdZeroes)
	})
	var err error
	if !q.wrong && q.Length > 0 {
		err = c.disk.zero(int64(q.Offset), int64(q.Length), fua)
	}
	c.answer(q, err)
}

// answer says whether a request was done.
func (c *conversation) answer(q asked, err error) {
	code := uint32(0)
	switch {
	case err != nil:
		code = errIO
	case q.beyond && q.Type != cmdRead:
		code = errSpace
	case q.wrong && q.Type != cmdFlush:
		code = errInvalid
	}
	c.put(uint32(magicAnswer), code, q.Cookie)
}

// reply answers an option.
func (c *conversation) reply(option, kind uint32, parts ...any) {
	length := 0
	for _, p := range parts {
		length += binary.Size(p)
	}
	c.put(uint64(magicReply), option, kind, uint32(length))
	c.put(parts...)
}

// put writes numbers and bytes; the writer keeps the error until it is flushed.
func (c *conversation) put(parts ...any) {
	for _, p := range parts {
		_ = binary.Write(c.out, binary.BigEndian, p)
	}
}

func (c *conversation) get(to any) error { return binary.Read(c.in, binary.BigEndian, to) }

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
