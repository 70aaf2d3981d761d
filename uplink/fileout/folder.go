package fileout

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/internal/inorder"
)

// The ends of names: a file that is being written, and one that is being
// compressed. Whoever collects files leaves both alone.
const (
	partEnd = ".part"
	tmpEnd  = ".tmp"
)

// stampForm is the time in a name, UTC, without characters that FAT forbids.
const stampForm = "20060102T150405Z"

// namesOf matches the names of our files, and of nobody else's.
func namesOf(name string) *regexp.Regexp {
	return regexp.MustCompile(`^` + regexp.QuoteMeta(name) + `-(\d{8}T\d{6}Z)-(\d{6,9})\.(chunks|ndjson|txt)(?:\.gz|\.zst)?(\.part|\.tmp)?$`)
}

// pathOf is the path of a finished file.
func (s *Sink) pathOf(begun time.Time, number int, k kind) string {
	return filepath.Join(s.cfg.Dir, fmt.Sprintf("%s-%s-%06d.%s", s.cfg.Name, begun.UTC().Format(stampForm), number, k))
}

// entry is one of our files in the folder.
type entry struct {
	path   string
	number int
	kind   kind
	begun  time.Time
	end    string // partEnd, tmpEnd or empty
	size   int64
}

// list returns our files by number.
func (s *Sink) list() ([]entry, error) {
	dir, err := os.Open(s.cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var all []entry
	for {
		some, err := dir.ReadDir(256)
		for _, d := range some {
			if e, ok := s.entryOf(d); ok {
				all = append(all, e)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	inorder.Sort(all, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.path, b.path))
	})
	return all, nil
}

func (s *Sink) entryOf(d os.DirEntry) (entry, bool) {
	m := s.names.FindStringSubmatch(d.Name())
	if m == nil || !d.Type().IsRegular() {
		return entry{}, false
	}
	begun, err := time.Parse(stampForm, m[1])
	info, err2 := d.Info()
	if err != nil || err2 != nil { // or it has just gone
		return entry{}, false
	}
	number, _ := strconv.Atoi(m[2]) // it has nine digits at the most
	return entry{filepath.Join(s.cfg.Dir, d.Name()), number, kind(m[3]), begun, m[4], info.Size()}, true
}

// look finds what was there before: files whose writing has ended without being
// finished are repaired. The newest one goes on.
func (s *Sink) look() error {
	all, err := s.list()
	if err != nil {
		return err
	}
	if s.isClosed() {
		return errClosed // the disk has taken its time: what is there now may be another Sink's
	}
	for _, e := range all {
		// Never back: a listing may miss a file that is renamed meanwhile.
		s.number = max(s.number, e.number)
		switch {
		case s.isLeaving(e):
		case e.end == tmpEnd:
			os.Remove(e.path) // or once more next time: what it was made of is there
		case e.end == partEnd:
			s.resume(e, e.number == all[len(all)-1].number)
		}
	}
	s.looked = true
	return nil
}

// isLeaving reports whether a file is being compressed, or is what that makes.
func (s *Sink) isLeaving(e entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving[s.pathOf(e.begun, e.number, e.kind)+partEnd]
}

// resume repairs a file, and goes on with it if it is the newest and in order. A
// file that cannot be repaired stays as it is until the next look: it must not stop
// what is new.
func (s *Sink) resume(e entry, newest bool) {
	if packed, err := s.packedAlready(e); err != nil || packed {
		return
	}
	end, clean, err := s.repair(e)
	if err != nil || s.isClosed() {
		return
	}
	if end == 0 {
		os.Remove(e.path) // nothing in it was acknowledged
		return
	}
	f := file{path: e.path, kind: e.kind, size: end, begun: e.begun}
	if f.age() < 0 { // the clock was wrong then; or it would be young for years
		f.begun = time.Now()
	}
	if age := f.age(); !newest || !clean || s.spoiled[e.path] || end >= s.cfg.MaxSize || age >= s.cfg.MaxAge {
		_ = s.finish(f) // or after the next look
		return
	}
	s.file = &f
	s.expire(&f)
}

// packedAlready finishes what a kill has interrupted: the compressed file is whole
// as soon as it has its name, and the other one may go as soon as that is durable.
func (s *Sink) packedAlready(e entry) (bool, error) {
	for _, end := range []string{".gz", ".zst"} {
		if _, err := os.Lstat(finished(e.path) + end); err == nil {
			if err := s.disk.syncFolder(s.cfg.Dir); err != nil {
				return true, err
			}
			return true, os.Remove(e.path)
		}
	}
	return false, nil
}

// repair cuts a file off behind its last whole record, and returns where that is.
// clean says that all before is whole, too.
func (s *Sink) repair(e entry) (end int64, clean bool, err error) {
	in, err := os.Open(e.path)
	if err != nil {
		return 0, false, err
	}
	defer in.Close()
	if end, clean, err = e.kind.whole(in, e.size); err != nil || end == e.size {
		return end, clean, err
	}
	h, err := s.disk.open(e.path, false)
	if err != nil {
		return 0, false, err
	}
	if s.isClosed() {
		return 0, false, errors.Join(errClosed, h.Close())
	}
	return end, clean, errors.Join(h.Truncate(end), h.Sync(), h.Close())
}

// finished returns the name that a file gets when nothing is added any more.
func finished(part string) string { return part[:len(part)-len(partEnd)] }

// finish gives the file its name, compressed if that is asked for, and removes old
// ones. Compressing takes its time, and nobody waits for it.
func (s *Sink) finish(f file) error {
	if s.file != nil && s.file.path == f.path {
		s.file = nil
	}
	delete(s.spoiled, f.path)
	if s.cfg.Compress != Plain && f.kind != chunks {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leaving[f.path] = true
		s.tasks.Go(func() { s.pack(f.path) })
		return nil
	}
	err := s.settle(f.path)
	if err == nil {
		err = s.prune()
	}
	if err != nil {
		s.looked = false // to try it again
	}
	return err
}

// settle gives a file that is finished its name.
func (s *Sink) settle(part string) error {
	if err := os.Rename(part, finished(part)); err != nil {
		return err
	}
	return s.disk.syncFolder(s.cfg.Dir)
}

// prune removes the oldest finished files beyond what is kept. Files of others, and
// those that are being written, are neither counted nor removed.
func (s *Sink) prune() error {
	if s.cfg.Keep <= 0 && s.cfg.KeepBytes <= 0 {
		return nil
	}
	all, err := s.list()
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(e entry) bool { return e.end != "" })
	sum := int64(0)
	for i, e := range slices.Backward(all) {
		sum += e.size
		kept := len(all) - i
		if s.cfg.Keep > 0 && kept > s.cfg.Keep || s.cfg.KeepBytes > 0 && sum > s.cfg.KeepBytes && kept > 1 {
			if err := os.Remove(e.path); err != nil {
				return err
			}
		}
	}
	return nil
}
