package fileout

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// file is one that is being written. It is not open between two commits.
type file struct {
	path  string // ends in .part
	kind  kind
	size  int64 // bytes that are acknowledged, all of whole records
	begun time.Time
}

func (f *file) age() time.Duration { return time.Since(f.begun) }

// commit writes the messages, and makes them durable in one sync.
func (s *Sink) commit(group []*job) error {
	need := int64(0)
	for _, j := range group {
		need += int64(len(j.message.Body) + len(j.message.Pieces())) // and line ends
	}
	if err := s.ready(group[0].kind, need); err != nil {
		return judge(err)
	}
	return judge(s.append(group))
}

// ready sees to it that there is a file of the kind, and room.
func (s *Sink) ready(k kind, need int64) error {
	free, err := s.usable()
	if err != nil {
		s.letGo()
		return err
	}
	if keep := s.cfg.MinFree + s.reservedNow(); keep > 0 && free-need < keep {
		return noRoom{free, keep}
	}
	if !s.looked {
		if err := s.look(); err != nil {
			return err
		}
	}
	if f := s.file; f != nil && (f.kind != k || f.size >= s.cfg.MaxSize || f.age() >= s.cfg.MaxAge) {
		if err := s.finish(*f); err != nil {
			return err
		}
	}
	if s.file == nil {
		return s.begin(k)
	}
	return nil
}

// begin chooses the name of a file that will be made.
func (s *Sink) begin(k kind) error {
	for now := time.Now(); ; {
		s.number++
		f := &file{path: s.pathOf(now, s.number, k) + partEnd, kind: k, begun: now}
		taken, err := taken(f.path)
		if err != nil {
			return err
		}
		if !taken {
			s.file = f
			return nil
		}
	}
}

// taken reports whether there is something that has the name of a file, or one that
// the file will get.
func taken(part string) (bool, error) {
	for _, path := range []string{part, finished(part), finished(part) + ".gz", finished(part) + ".zst"} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			return err == nil, err
		}
	}
	return false, nil
}

// reservedFor is how long an answer of Config.Reserved counts.
const reservedFor = 10 * time.Second

func (s *Sink) reservedNow() int64 {
	if s.cfg.Reserved != nil && (s.asked.IsZero() || time.Since(s.asked) > reservedFor) {
		s.reserved, s.asked = s.cfg.Reserved(s.cfg.Dir), time.Now()
	}
	return s.reserved
}

// append writes the messages behind what the file has. Whatever fails, what was
// acknowledged before is not touched.
func (s *Sink) append(group []*job) error {
	f, fresh := s.file, s.file.size == 0
	h, err := s.disk.open(f.path, fresh)
	if !fresh && (errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ELOOP)) {
		s.letGo()
		return changed{fmt.Sprintf("%s was moved or removed", filepath.Base(f.path))}
	}
	if err != nil {
		s.letGo()
		return err
	}
	if err := s.unchanged(f.size); err != nil {
		s.spoil()
		return errors.Join(err, h.Close())
	}
	n, err := s.write(h, group)
	if err != nil {
		return s.undo(h, err)
	}
	// After a failed sync nobody knows what the disk has, and a later one would
	// tell nothing of this.
	if err := errors.Join(h.Sync(), h.Close()); err != nil {
		s.spoil()
		return err
	}
	if fresh {
		if err := s.settled(); err != nil {
			s.spoil()
			return err
		}
	}
	if err := s.unchanged(f.size + n); err != nil {
		s.spoil()
		return err
	}
	f.size += n
	if fresh {
		s.expire(f)
	}
	return nil
}

// settled makes the name of a new file durable. The stick may have gone just before
// the file was made: then it is in the folder below, where nobody will find it.
func (s *Sink) settled() error {
	if err := s.disk.syncFolder(s.cfg.Dir); err != nil {
		return err
	}
	return s.underMount()
}

// write returns how many bytes the messages have as records.
func (s *Sink) write(h handle, group []*job) (n int64, err error) {
	if s.joined == nil {
		s.joined = bufio.NewWriterSize(nil, 64<<10)
	}
	w := s.joined
	w.Reset(h)
	for _, j := range group {
		for _, p := range j.message.Pieces() {
			w.Write(p.Body) // an error stays until Flush
			n += int64(len(p.Body))
			if !j.kind.ended(p.Body) {
				w.WriteByte('\n')
				n++
			}
		}
	}
	return n, w.Flush()
}

// unchanged checks that the file under its name is the one that we know.
func (s *Sink) unchanged(size int64) error {
	info, err := os.Lstat(s.file.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return changed{fmt.Sprintf("%s was moved or removed", filepath.Base(s.file.path))}
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Size() != size:
		return changed{fmt.Sprintf("%s has %d bytes, not the %d that were written", filepath.Base(s.file.path), info.Size(), size)}
	}
	return nil
}

// undo takes back a write that failed half-way.
func (s *Sink) undo(h handle, why error) error {
	if s.isClosed() {
		return errors.Join(why, h.Close()) // see spoil
	}
	err := h.Truncate(s.file.size)
	if err = errors.Join(err, h.Close()); err != nil {
		s.spoil()
	} else if s.file.size == 0 {
		os.Remove(s.file.path) // or it is found empty after the next look
		s.letGo()
	}
	return why
}

// spoil gives up a file of which it is not known what the disk has. Nothing is
// added to it any more; the next look finishes it. A Sink that is closed, and has
// waited for the disk until now, leaves the file to the one after it, which may have
// gone on with it: what that one has acknowledged must not be cut off.
func (s *Sink) spoil() {
	if s.isClosed() {
		s.letGo()
		return
	}
	if s.file.size == 0 {
		os.Remove(s.file.path) // nothing in it was acknowledged
	} else {
		os.Truncate(s.file.path, s.file.size) // if this fails, the next look does it
		s.spoiled[s.file.path] = true
	}
	s.letGo()
}

// letGo forgets the file and what is known of the folder.
func (s *Sink) letGo() {
	s.file, s.looked = nil, false
	if s.expiry != nil {
		s.expiry.Stop()
	}
}
