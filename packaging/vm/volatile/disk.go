package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A sector is written or it is not: what a disk promises, and no more.
const sector = 512

// piece is how much is read or written at once, in bytes: a whole number of
// sectors.
const piece = 64 << 10

var errDead = errors.New("the power is away")

// disk is a file with a volatile write cache before it. Its methods may be called
// at the same time. Ranges are whole sectors within size: who calls sees to that.
type disk struct {
	file *os.File
	size int64         // bytes, whole sectors
	most int           // sectors that the cache holds
	lie  bool          // flushes and FUA do nothing
	slow time.Duration // of a flush, before it has done anything
	keep float64       // share of what is not flushed that a cut keeps; below 0: at random
	dead atomic.Bool   // the power is being cut: a flush under way does nothing any more

	mu     sync.RWMutex
	cache  map[int64]*[sector]byte // by number; nil is a sector of zeros
	random *rand.Rand
	cuts   int
	count  counts
}

// counts says what was asked of the disk since the last cut.
type counts struct {
	Reads   int `json:"reads"`
	Writes  int `json:"writes"`
	FUAs    int `json:"fuas"` // writes, zeroes and trims with that flag
	Flushes int `json:"flushes"`
	Trims   int `json:"trims"`
	Zeroes  int `json:"zeroes"`
	Spills  int `json:"spills"` // the cache was full, and everything went to the file
}

// report says what a power cut did.
type report struct {
	Cut       int     `json:"cut"`       // counted from 1
	Chance    float64 `json:"chance"`    // of a sector to survive
	Unflushed int     `json:"unflushed"` // sectors in the cache
	Kept      int     `json:"kept"`
	Lost      int     `json:"lost"`
	Lie       bool    `json:"lie"`
	counts
}

// open opens the disk's file. Its size is the disk's.
func open(name string, most int, seed uint64, lie bool) (*disk, error) {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err == nil && (size == 0 || size%sector != 0) {
		err = fmt.Errorf("%s has %d bytes, which are not whole sectors of %d — hint: truncate -s 2G %s", name, size, sector, name)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &disk{file: file, size: size, most: most, lie: lie, keep: -1,
		cache: make(map[int64]*[sector]byte), random: rand.New(rand.NewPCG(seed, 0))}, nil
}

// read fills p with what was written last, be it in the cache or in the file.
func (d *disk) read(p []byte, at int64) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if _, err := d.file.ReadAt(p, at); err != nil {
		return err
	}
	for n := int64(0); n < int64(len(p)); n += sector {
		switch kept, ok := d.cache[(at+n)/sector]; {
		case !ok:
		case kept == nil:
			clear(p[n : n+sector])
		default:
			copy(p[n:], kept[:])
		}
	}
	return nil
}

// write keeps p in the cache; with fua it goes to the file, it alone.
func (d *disk) write(p []byte, at int64, fua bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if fua && !d.lie {
		for n := range int64(len(p) / sector) {
			delete(d.cache, at/sector+n)
		}
		_, err := d.file.WriteAt(p, at)
		return err
	}
	for n := 0; n < len(p); n += sector {
		kept := new([sector]byte)
		copy(kept[:], p[n:])
		if err := d.put((at+int64(n))/sector, kept); err != nil {
			return err
		}
	}
	return nil
}

// zero is a write of zeros. A range larger than the cache goes to the file at
// once, as a disk may do at any time with anything.
func (d *disk) zero(at, length int64, fua bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	first, last := at/sector, (at+length)/sector
	if large := last-first > int64(d.most); large || fua && !d.lie {
		maps.DeleteFunc(d.cache, func(n int64, _ *[sector]byte) bool { return first <= n && n < last })
		return d.punch(at, length)
	}
	for n := first; n < last; n++ {
		if err := d.put(n, nil); err != nil {
			return err
		}
	}
	return nil
}

// put keeps a sector in the cache. One that was there may have reached the file
// before, and one in two does: after a cut a sector has any of the values that it
// had since the last flush, not only the first and the last.
func (d *disk) put(n int64, kept *[sector]byte) error {
	if old, ok := d.cache[n]; ok && d.keep < 0 && d.random.IntN(2) == 0 {
		if err := d.store([]int64{n}, func(int64) *[sector]byte { return old }); err != nil {
			return err
		}
	}
	d.cache[n] = kept
	if len(d.cache) < d.most {
		return nil
	}
	d.count.Spills++
	return d.empty()
}

// flush writes to the file what the cache holds, which is at least everything
// that was answered before: a writer has the lock until it is done.
func (d *disk) flush() error {
	time.Sleep(d.slow)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead.Load() {
		return errDead
	}
	if d.lie {
		return nil
	}
	return d.empty()
}

// close writes everything, as a machine that is shut down in order.
func (d *disk) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(d.empty(), d.file.Close())
}

// cut takes the power away: of what is in the cache a random part reaches the
// file, sector by sector, and the rest is gone. Nobody may use the disk meanwhile
// who could have used it before.
func (d *disk) cut() (report, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cuts++
	chance := d.random.Float64()
	switch d.random.IntN(8) {
	case 0:
		chance = 0
	case 1:
		chance = 1
	}
	if d.keep >= 0 {
		chance = d.keep
	}
	var kept []int64
	for _, n := range slices.Sorted(maps.Keys(d.cache)) { // the seed decides, not the map's order
		if d.random.Float64() < chance {
			kept = append(kept, n)
		}
	}
	r := report{Cut: d.cuts, Chance: chance, Unflushed: len(d.cache), Kept: len(kept),
		Lost: len(d.cache) - len(kept), Lie: d.lie, counts: d.count}
	err := d.store(kept, func(n int64) *[sector]byte { return d.cache[n] })
	clear(d.cache)
	d.count = counts{}
	return r, err
}

// tally counts a request.
func (d *disk) tally(add func(*counts)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	add(&d.count)
}

// state says what the cache holds and what was asked for since the last cut.
func (d *disk) state() report {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return report{Cut: d.cuts, Unflushed: len(d.cache), Lie: d.lie, counts: d.count}
}

// empty writes the cache to the file.
func (d *disk) empty() error {
	err := d.store(slices.Sorted(maps.Keys(d.cache)), func(n int64) *[sector]byte { return d.cache[n] })
	if err == nil {
		clear(d.cache)
	}
	return err
}

// store writes sectors, in ascending order, to the file: those that lie side by
// side together.
func (d *disk) store(numbers []int64, value func(int64) *[sector]byte) error {
	run := make([]byte, 0, piece)
	for i := 0; i < len(numbers); {
		first, zeros := numbers[i], value(numbers[i]) == nil
		n := int64(0)
		for run = run[:0]; i < len(numbers) && numbers[i] == first+n && (value(numbers[i]) == nil) == zeros; i++ {
			if !zeros {
				if len(run) == piece {
					break
				}
				run = append(run, value(numbers[i])[:]...)
			}
			n++
		}
		var err error
		if zeros {
			err = d.punch(first*sector, n*sector)
		} else {
			_, err = d.file.WriteAt(run, first*sector)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// punch makes a range of the file zeros, as a hole where the file system can.
func (d *disk) punch(at, length int64) error {
	const keepSize, punchHole = 0x1, 0x2 // fallocate(2)
	if syscall.Fallocate(int(d.file.Fd()), punchHole|keepSize, at, length) == nil {
		return nil
	}
	zeros := make([]byte, min(length, piece))
	for length > 0 {
		n := min(length, piece)
		if _, err := d.file.WriteAt(zeros[:n], at); err != nil {
			return err
		}
		at, length = at+n, length-n
	}
	return nil
}
