package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// checkPages reads a bbolt file page by page, as bbolt would come to them. bbolt
// trusts its pages and reads them through a map, some of them in goroutines of
// its own, where a length that points beyond the file, a page that cannot be
// read or a tree that bites its tail would be the end of the process. So none of
// these gets that far. What pages say beyond that is bbolt's to check.
func checkPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lock(f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	p := pages{file: f, length: info.Size()}
	root, ok := p.findMeta()
	if !ok {
		return fmt.Errorf("%w: no meta page checks", errRotten)
	}
	if p.count > uint64(p.length/p.size) {
		return fmt.Errorf("%w: %d pages of %d bytes in a file of %d", errRotten, p.count, p.size, p.length)
	}
	p.seen = make([]bool, p.count)
	if err := p.checkFree(); err != nil {
		return err
	}
	return p.walk(root)
}

// lock waits as long as bbolt does for who has the file: what another process is
// writing must not be taken for damage. Closing the file unlocks it.
func lock(f *os.File) error {
	o := stateOptions()
	for end := time.Now().Add(o.Timeout); ; time.Sleep(o.Timeout / 20) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if time.Now().After(end) {
			return bolterrors.ErrTimeout
		}
	}
}

// pages is a bbolt file. Its numbers have the byte order of the machine.
//
//	page     id 8, flags 2, count 2, overflow 4, then elements
//	meta     magic 4, version 4, page size 4, flags 4, root 8, sequence 8,
//	         freelist 8, pages 8, transaction 8, FNV-1a of all that 8
//	branch   position 4, key length 4, page 8
//	leaf     flags 4, position 4, key length 4, value length 4
type pages struct {
	file   io.ReaderAt
	length int64 // of the file
	size   int64 // of a page
	count  uint64
	free   uint64 // the page with the list of free ones
	seen   []bool
}

const (
	pageHeader  = 16
	elementSize = 16
	metaSum     = 56 // bytes that are summed up

	branchPage, leafPage, freePage = 1, 2, 16 // flags of pages
	bucketLeaf                     = 1        // flag of a leaf's element

	noFreePage = ^uint64(0) // bbolt then looks for free pages itself
)

// findMeta takes the newest meta page that checks. They are the first two pages,
// of a size that only they know.
func (p *pages) findMeta() (root uint64, ok bool) {
	ne, newest := binary.NativeEndian, uint64(0)
	take := func(off int64) bool {
		b := make([]byte, pageHeader+metaSum+8)
		if _, err := p.file.ReadAt(b, off); err != nil {
			return false
		}
		m, sum := b[pageHeader:], fnv.New64a()
		sum.Write(m[:metaSum])
		if sum.Sum64() != ne.Uint64(m[metaSum:]) || ne.Uint32(m[8:]) == 0 {
			return false
		}
		if txid := ne.Uint64(m[48:]); !ok || txid > newest {
			ok, newest = true, txid
			p.size, root, p.free, p.count = int64(ne.Uint32(m[8:])), ne.Uint64(m[16:]), ne.Uint64(m[32:]), ne.Uint64(m[40:])
		}
		return true
	}
	if take(0) {
		take(p.size)
		return root, ok
	}
	for size := int64(1 << 10); size <= 16<<20 && !take(size); size *= 2 {
	}
	return root, ok
}

// read returns a page with those that belong to it, each of which it may meet
// only once.
func (p *pages) read(id uint64) (b []byte, flags uint16, count int, err error) {
	ne := binary.NativeEndian
	damaged := fmt.Errorf("%w: page %d", errRotten, id)
	if id < 2 || id >= p.count {
		return nil, 0, 0, damaged
	}
	header := make([]byte, pageHeader)
	if _, err := p.file.ReadAt(header, int64(id)*p.size); err != nil {
		return nil, 0, 0, err
	}
	n := 1 + uint64(ne.Uint32(header[12:]))
	if ne.Uint64(header) != id || n > p.count-id {
		return nil, 0, 0, damaged
	}
	for i := range n {
		if p.seen[id+i] {
			return nil, 0, 0, damaged
		}
		p.seen[id+i] = true
	}
	b = make([]byte, int64(n)*p.size)
	_, err = p.file.ReadAt(b, int64(id)*p.size)
	return b, ne.Uint16(header[8:]), int(ne.Uint16(header[10:])), err
}

func (p *pages) checkFree() error {
	if p.free == noFreePage {
		return fmt.Errorf("%w: it has no list of free pages", errRotten)
	}
	b, flags, count, err := p.read(p.free)
	if err != nil {
		return err
	}
	ids := b[pageHeader:]
	if count == 1<<16-1 { // the number does not fit, and comes first
		count, ids = int(min(binary.NativeEndian.Uint64(ids), p.count)), ids[8:]
	}
	if flags&freePage == 0 || count*8 > len(ids) {
		return fmt.Errorf("%w: list of free pages", errRotten)
	}
	return nil
}

// walk visits the tree below a page.
func (p *pages) walk(id uint64) error {
	b, flags, count, err := p.read(id)
	if err != nil {
		return err
	}
	switch {
	case flags&branchPage != 0 && count > 0:
		return walkElements(b, count, p.walkBranch)
	case flags&leafPage != 0:
		return walkElements(b, count, p.walkLeaf)
	}
	return fmt.Errorf("%w: page %d with flags %x", errRotten, id, flags)
}

// walkElements visits the elements of a page, each with what follows it.
func walkElements(page []byte, count int, visit func([]byte) error) error {
	if pageHeader+count*elementSize > len(page) {
		return fmt.Errorf("%w: a page of %d elements", errRotten, count)
	}
	for i := range count {
		if err := visit(page[pageHeader+i*elementSize:]); err != nil {
			return err
		}
	}
	return nil
}

func (p *pages) walkBranch(e []byte) error {
	ne := binary.NativeEndian
	if end := int64(ne.Uint32(e)) + int64(ne.Uint32(e[4:])); end > int64(len(e)) {
		return fmt.Errorf("%w: a key that ends beyond its page", errRotten)
	}
	return p.walk(ne.Uint64(e[8:]))
}

// walkLeaf looks at an element of a leaf. A bucket's value is the page of its
// root and a sequence number, then that page itself if its number is 0.
func (p *pages) walkLeaf(e []byte) error {
	ne := binary.NativeEndian
	key := int64(ne.Uint32(e[4:]))
	value := key + int64(ne.Uint32(e[8:]))
	end := value + int64(ne.Uint32(e[12:]))
	if end > int64(len(e)) {
		return fmt.Errorf("%w: an entry of %d bytes", errRotten, end-key)
	}
	if ne.Uint32(e)&bucketLeaf == 0 {
		return nil
	}
	if end-value < 16 {
		return fmt.Errorf("%w: a bucket of %d bytes", errRotten, end-value)
	}
	b := e[value:end]
	if root := ne.Uint64(b); root != 0 {
		return p.walk(root)
	}
	if inline := b[16:]; len(inline) >= pageHeader {
		return walkElements(inline, int(ne.Uint16(inline[10:])), p.walkLeaf)
	}
	return fmt.Errorf("%w: a bucket without a page", errRotten)
}
