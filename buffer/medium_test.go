package buffer

import (
	"bytes"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// sectorSize is what a medium writes whole or not at all.
const sectorSize = 512

// medium is a folder as a process sees it, and what of it is sure to be there
// after a power cut.
//
// A write, a new length and a reservation are pending until fsync or fdatasync
// of that file has returned; of what is pending at the cut, any subset of the
// sectors may be there. A new name, a rename, an exchange and a removal are
// pending until the folder is synced; the first of them may be there, as a journal
// keeps their order, or any of them, as other file systems may. Not modelled:
// media that lie about a sync, sectors that are lost although they were not
// written, two calls on one file at a time.
type medium struct {
	names   map[string]*inode // as the process sees them
	durable map[string]*inode
	moves   []move // names that changed and are not durable
}

type inode struct {
	durable []byte
	pending []call
	end     int64 // where the process is that writes it from its beginning; -1 when it is an old file
}

// image is what a folder holds after a cut: names, and files without anything
// pending. Two names of one file have the same one.
type image map[string]*inode

// newMedium returns a medium on which the image is durable.
func newMedium(start image) *medium {
	return (&medium{names: start, durable: start}).clone()
}

func (m *medium) clone() *medium {
	copies := map[*inode]*inode{}
	file := func(f *inode) *inode {
		if f != nil && copies[f] == nil {
			copies[f] = &inode{slices.Clone(f.durable), slices.Clone(f.pending), -1}
		}
		return copies[f]
	}
	c := &medium{names: map[string]*inode{}, durable: map[string]*inode{}}
	for name, f := range m.names {
		c.names[name] = file(f)
	}
	for name, f := range m.durable {
		c.durable[name] = file(f)
	}
	for _, mv := range m.moves {
		c.moves = append(c.moves, move{mv.call, file(mv.file), file(mv.other)})
	}
	return c
}

// apply takes one call. It says whether a cut behind it may differ from a cut
// before it.
func (m *medium) apply(c call) (changed bool) {
	f := m.names[c.name]
	switch c.kind {
	case isSaid:
		return true
	case isSyncDir:
		m.durable, m.moves = maps.Clone(m.names), nil
		return false
	case isSync:
		for _, p := range f.pending {
			f.durable = p.write(f.durable, func(bool) bool { return true })
		}
		f.pending = nil
		return false
	case isCreate:
		if f != nil { // it was there
			return false
		}
		m.move(move{c, &inode{}, nil})
	case isRename, isUnlink, isExchange, isLink:
		m.move(move{c, f, m.names[c.to]})
	case isAppend:
		if f.end < 0 {
			panic("an old file is written without an offset")
		}
		c.kind, c.off = isWrite, f.end
		f.end += int64(len(c.data))
		f.pending = append(f.pending, c)
	default:
		if c.kind == isTruncate && c.off == 0 {
			f.end = 0
		}
		f.pending = append(f.pending, c)
	}
	return true
}

func (m *medium) move(mv move) {
	mv.apply(m.names)
	m.moves = append(m.moves, mv)
}

// move is a call that changes names, the file that had the name, and the one
// that had the other name.
type move struct {
	call
	file, other *inode
}

func (m move) apply(names map[string]*inode) {
	switch m.kind {
	case isCreate:
		names[m.name] = m.file
	case isUnlink:
		delete(names, m.name)
	case isRename:
		delete(names, m.name)
		names[m.to] = m.file
	case isLink:
		names[m.to] = m.file
	case isExchange:
		names[m.name], names[m.to] = m.other, m.file
	}
}

// write applies the call to the content sector by sector, as keep decides; it is
// told whether this is the first sector of a call.
func (c call) write(b []byte, keep func(first bool) bool) []byte {
	switch {
	case c.kind != isWrite && !keep(true):
	case c.kind == isTruncate && c.off < int64(len(b)):
		b = b[:c.off]
	case c.kind != isWrite:
		b = append(b, make([]byte, max(c.off-int64(len(b)), 0))...)
	}
	for at := 0; at < len(c.data); {
		n := min(sectorSize-int(c.off+int64(at))%sectorSize, len(c.data)-at)
		if end := int(c.off) + at + n; keep(at == 0) {
			b = append(b, make([]byte, max(end-len(b), 0))...)
			copy(b[end-n:], c.data[at:at+n])
		}
		at += n
	}
	return b
}

// cut returns what is there after a cut. Contents that nothing pending changes
// are the medium's own and must not be changed.
func (m *medium) cut(f fate) image {
	names := maps.Clone(m.durable)
	for _, mv := range m.moves {
		if f.moved() {
			mv.apply(names)
		}
	}
	after, left := image{}, map[*inode]*inode{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		file := names[name]
		if left[file] == nil {
			left[file] = &inode{durable: file.left(f)}
		}
		after[name] = left[file]
	}
	return after
}

// left is what a cut leaves of the file.
func (i *inode) left(f fate) []byte {
	content := i.durable
	if len(i.pending) > 0 {
		content = slices.Clone(content)
	}
	for _, p := range i.pending {
		content = p.write(content, f.keep)
	}
	return content
}

// fate decides what of the pending survives a cut: each sector in order, and each
// name that changed.
type fate struct {
	keep  func(first bool) bool
	moved func() bool
}

// fates are the ways in which a cut may end.
func fates() map[string]func(*rand.Rand) fate {
	all, none := func() bool { return true }, func() bool { return false }
	some := func(rng *rand.Rand) func() bool {
		if left := rng.IntN(6); rng.IntN(2) == 0 {
			return func() bool { left--; return left >= 0 } // in order
		}
		return func() bool { return rng.IntN(2) == 0 }
	}
	share := func(kept, of int) func(*rand.Rand) fate {
		return func(rng *rand.Rand) fate {
			return fate{func(bool) bool { return rng.IntN(of) < kept }, some(rng)}
		}
	}
	return map[string]func(*rand.Rand) fate{
		"nothing":    func(*rand.Rand) fate { return fate{func(bool) bool { return false }, none} },
		"everything": func(*rand.Rand) fate { return fate{func(bool) bool { return true }, all} },
		"few":        share(1, 16), "half": share(1, 2), "most": share(15, 16),
		"whole calls": func(rng *rand.Rand) fate {
			kept := false
			return fate{func(first bool) bool {
				if first {
					kept = rng.IntN(2) == 0
				}
				return kept
			}, some(rng)}
		},
		"torn": func(rng *rand.Rand) fate {
			left := 1 << rng.IntN(15) // sectors, in the order of the calls
			return fate{func(bool) bool { left--; return left >= 0 }, some(rng)}
		},
		"one lost": func(rng *rand.Rand) fate {
			left := rng.IntN(1 << rng.IntN(15))
			return fate{func(bool) bool { left--; return left != -1 }, some(rng)}
		},
	}
}

// sum tells images apart.
func (i image) sum(seed maphash.Seed) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	sums := map[*inode]uint64{}
	for _, name := range slices.Sorted(maps.Keys(i)) {
		sum, again := sums[i[name]]
		if !again {
			sum = maphash.Bytes(seed, i[name].durable)
			sums[i[name]] = sum
		}
		h.WriteString(name)
		maphash.WriteComparable(&h, again)
		maphash.WriteComparable(&h, sum)
	}
	return h.Sum64()
}

// store writes the image into a folder, with holes where files end in zeros.
func (i image) store(t *testing.T, dir string) {
	t.Helper()
	written, zeros := map[*inode]string{}, make([]byte, pageSize)
	for name, file := range i {
		path, end := filepath.Join(dir, name), len(file.durable)
		if other, ok := written[file]; ok {
			if err := os.Link(other, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		written[file] = path
		for end >= pageSize && bytes.Equal(file.durable[end-pageSize:end], zeros) {
			end -= pageSize
		}
		if err := os.WriteFile(path, file.durable[:end], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, int64(len(file.durable))); err != nil {
			t.Fatal(err)
		}
	}
}

// The model itself must not be kinder than a disk.
func TestMediumForgetsWhatWasNotSynced(t *testing.T) {
	data := bytes.Repeat([]byte{1}, 2*sectorSize)
	create, write, sync := call{kind: isCreate, name: "a"}, call{kind: isWrite, name: "a", data: data}, call{kind: isSync, name: "a"}
	text, folder := string(data), call{kind: isSyncDir}
	for _, c := range []struct {
		what        string
		calls       []call
		least, most map[string]string
	}{
		{"a new file", []call{create}, map[string]string{}, map[string]string{"a": ""}},
		{"a new name", []call{create, write, sync}, map[string]string{}, map[string]string{"a": text}},
		{"a write", []call{create, folder, write}, map[string]string{"a": ""}, map[string]string{"a": text}},
		{"a synced write", []call{create, folder, write, sync}, map[string]string{"a": text}, map[string]string{"a": text}},
		{"a rename", []call{create, folder, write, sync, {kind: isRename, name: "a", to: "b"}}, map[string]string{"a": text}, map[string]string{"b": text}},
		{"a removal", []call{create, folder, {kind: isUnlink, name: "a"}}, map[string]string{"a": ""}, map[string]string{}},
		{"an exchange", []call{create, {kind: isCreate, name: "b"}, folder, write, sync, {kind: isExchange, name: "a", to: "b"}},
			map[string]string{"a": text, "b": ""}, map[string]string{"a": "", "b": text}},
		{"a second name", []call{create, write, sync, folder, {kind: isLink, name: "a", to: "b"}},
			map[string]string{"a": text}, map[string]string{"a": text, "b": text}},
		{"a shorter file", []call{create, folder, write, sync, {kind: isTruncate, name: "a", off: 3}}, map[string]string{"a": text}, map[string]string{"a": text[:3]}},
		{"a reservation", []call{create, folder, {kind: isExtend, name: "a", off: 4}}, map[string]string{"a": ""}, map[string]string{"a": "\x00\x00\x00\x00"}},
	} {
		m := newMedium(nil)
		for _, one := range c.calls {
			m.apply(one)
		}
		for fate, want := range map[string]map[string]string{"nothing": c.least, "everything": c.most} {
			got := map[string]string{}
			for name, file := range m.cut(fates()[fate](nil)) {
				got[name] = string(file.durable)
			}
			if !maps.Equal(got, want) {
				t.Errorf("%s, if %s is kept: %q, want %q", c.what, fate, got, want)
			}
		}
	}
}
