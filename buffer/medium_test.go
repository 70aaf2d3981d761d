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
// pending until the folder is synced; any number of the first of them may be
// there, as a journal keeps their order. Not modelled: media that lie about a
// sync, sectors that are lost although they were not written, two calls on one
// file at a time.
type medium struct {
	names   map[string]*inode // as the process sees them
	durable map[string]*inode
	moves   []move // names that changed and are not durable
}

type inode struct {
	durable []byte
	pending []call
}

// image is what a folder holds after a cut.
type image map[string][]byte

// newMedium returns a medium on which the image is durable.
func newMedium(start image) *medium {
	m := &medium{names: map[string]*inode{}}
	for name, content := range start {
		m.names[name] = &inode{durable: slices.Clone(content)}
	}
	m.durable = maps.Clone(m.names)
	return m
}

func (m *medium) clone() *medium {
	copies := map[*inode]*inode{}
	file := func(f *inode) *inode {
		if f != nil && copies[f] == nil {
			copies[f] = &inode{slices.Clone(f.durable), slices.Clone(f.pending)}
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
	case isRename, isUnlink, isExchange:
		m.move(move{c, f, m.names[c.to]})
	default:
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
	for _, mv := range m.moves[:f.moves(len(m.moves))] {
		mv.apply(names)
	}
	after := image{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		content := names[name].durable
		if len(names[name].pending) > 0 {
			content = slices.Clone(content)
		}
		for _, p := range names[name].pending {
			content = p.write(content, f.keep)
		}
		after[name] = content
	}
	return after
}

// fate decides what of the pending survives a cut: each sector in order, and how
// many of the names that changed.
type fate struct {
	keep  func(first bool) bool
	moves func(n int) int
}

// fates are the ways in which a cut may end.
func fates() map[string]func(*rand.Rand) fate {
	all, none := func(n int) int { return n }, func(int) int { return 0 }
	some := func(rng *rand.Rand) func(n int) int { return func(n int) int { return rng.IntN(n + 1) } }
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
	for _, name := range slices.Sorted(maps.Keys(i)) {
		h.WriteString(name)
		maphash.WriteComparable(&h, maphash.Bytes(seed, i[name]))
	}
	return h.Sum64()
}

// store writes the image into a folder, with holes where files end in zeros.
func (i image) store(t *testing.T, dir string) {
	t.Helper()
	zeros := make([]byte, pageSize)
	for name, content := range i {
		path, end := filepath.Join(dir, name), len(content)
		for end >= pageSize && bytes.Equal(content[end-pageSize:end], zeros) {
			end -= pageSize
		}
		if err := os.WriteFile(path, content[:end], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, int64(len(content))); err != nil {
			t.Fatal(err)
		}
	}
}

// The model itself must not be kinder than a disk.
func TestMediumForgetsWhatWasNotSynced(t *testing.T) {
	nothing, everything := fates()["nothing"](nil), fates()["everything"](nil)
	data := bytes.Repeat([]byte{1}, 2*sectorSize)
	create, write, sync := call{kind: isCreate, name: "a"}, call{kind: isWrite, name: "a", data: data}, call{kind: isSync, name: "a"}
	folder := call{kind: isSyncDir}
	for _, c := range []struct {
		what         string
		calls        []call
		least, most_ image
	}{
		{"a new file", []call{create}, image{}, image{"a": nil}},
		{"a new name", []call{create, write, sync}, image{}, image{"a": data}},
		{"a write", []call{create, folder, write}, image{"a": nil}, image{"a": data}},
		{"a synced write", []call{create, folder, write, sync}, image{"a": data}, image{"a": data}},
		{"a rename", []call{create, folder, write, sync, {kind: isRename, name: "a", to: "b"}}, image{"a": data}, image{"b": data}},
		{"a removal", []call{create, folder, {kind: isUnlink, name: "a"}}, image{"a": nil}, image{}},
		{"an exchange", []call{create, {kind: isCreate, name: "b"}, folder, write, sync, {kind: isExchange, name: "a", to: "b"}},
			image{"a": data, "b": nil}, image{"a": nil, "b": data}},
		{"a shorter file", []call{create, folder, write, sync, {kind: isTruncate, name: "a", off: 3}}, image{"a": data}, image{"a": data[:3]}},
		{"a reservation", []call{create, folder, {kind: isExtend, name: "a", off: 4}}, image{"a": nil}, image{"a": make([]byte, 4)}},
	} {
		m := newMedium(nil)
		for _, one := range c.calls {
			m.apply(one)
		}
		same := func(a, b image) bool { return maps.EqualFunc(a, b, bytes.Equal) }
		if got := m.cut(nothing); !same(got, c.least) {
			t.Errorf("%s: at least %v, want %v", c.what, got, c.least)
		}
		if got := m.cut(everything); !same(got, c.most_) {
			t.Errorf("%s: at most %v, want %v", c.what, got, c.most_)
		}
	}
}
