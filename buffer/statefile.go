package buffer

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// openState opens state.db, or sets a file that will not open aside and starts
// anew. aside names the file that was set aside. On a medium that takes no
// changes now it returns a state that is unwell.
func openState(dir string) (s *state, aside string, err error) {
	s = &state{dir: dir, unwell: func(error) {}}
	aside, err = s.attach()
	return s, aside, err
}

// reopen makes an unwell state well, or says why it is not. aside names the
// file that was set aside, if there is one.
func (s *state) reopen() (aside string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fault.Load()
	if f == nil {
		return "", nil
	}
	if err := s.detach(f.locked); err != nil && !f.damaged {
		return "", err
	}
	if f.damaged {
		if aside, err = s.replace(f.err); err != nil {
			return "", err
		}
	}
	again, err := s.attach()
	if f.intact && aside != "" && s.well() {
		s.salvage(aside)
	}
	if f := s.fault.Load(); err == nil && f != nil {
		err = f.err
	}
	return cmp.Or(again, aside), err
}

// attach opens the file, or makes one, and says whether the state is well.
func (s *state) attach() (aside string, err error) {
	path := s.path()
	if _, err = os.Stat(path); err == nil {
		err = s.open(path, false)
	}
	if errors.Is(err, fs.ErrNotExist) || isDamage(err) {
		if aside, err = s.replace(err); err == nil {
			err = s.open(path, false)
			s.isNew = true
		}
	}
	switch {
	case err == nil:
		s.fault.Store(nil)
		return aside, nil
	case isOfMedium(err):
		s.fault.Store(&fault{err: advise(fmt.Errorf("state.db: %w", err))})
		if errors.Is(err, unix.EROFS) {
			_ = s.open(path, true) // what cannot be read is not known
		}
		return aside, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return aside, inUse(fmt.Sprintf("open %s: %s holds it — hint: is a tidegate running on this folder?", path, holder(path)))
	}
	return aside, fmt.Errorf("open %s: %w — hint: nothing is wrong with the file; see to the limits and permissions of this user", path, err)
}

// isDamage says that the error of opening is the file's own.
func isDamage(err error) bool {
	return err != nil && !errors.Is(err, unix.EROFS) && !errors.Is(err, bolterrors.ErrTimeout) && !isOfProcess(err)
}

// isOfProcess says that the error is of the process: its limits, its permissions.
func isOfProcess(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EACCES, unix.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// isOfMedium says that the error is of the disk and may pass.
func isOfMedium(err error) bool {
	return isNoSpace(err) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.EIO)
}

// advise adds what can be done.
func advise(err error) error {
	for _, a := range []struct {
		err  error
		hint string
	}{
		{unix.EROFS, "the file system is mounted read-only, often after an error: see \"dmesg\", check the card, mount it for writing; it goes on by itself then"},
		{unix.ENOSPC, "make room on the disk; it goes on by itself then"},
		{unix.EDQUOT, "make room, or raise the quota of this user; it goes on by itself then"},
		{ErrFull, "make room on the disk; delivering makes room, too"},
		{unix.EIO, "the medium fails: see \"dmesg\", and replace it"},
	} {
		if errors.Is(err, a.err) && !strings.Contains(err.Error(), "hint: ") {
			return fmt.Errorf("%w — hint: %s", err, a.hint)
		}
	}
	return err
}

// mostAside is how many damaged files are kept. A medium that damages more of
// them has nothing new to tell.
const mostAside = 4

// replace puts a new file into the place of the old one, if there is one, which is
// set aside. Nothing of that happens while there is no room for the new one.
func (s *state) replace(why error) (aside string, err error) {
	fresh, path := s.path()+".new", s.path()
	if err := createState(fresh); err != nil {
		return "", err
	}
	if _, err := os.Lstat(path); err == nil {
		s.why, aside = why, setAsideName(path, why)
		if err := os.Rename(path, aside); err != nil {
			return "", err
		}
	}
	if err := os.Rename(fresh, path); err != nil {
		return aside, err
	}
	return aside, syncDir(s.dir)
}

// freeName is the first of the file's names that is free, or the last.
func freeName(path string) (aside string) {
	for n := 1; n <= mostAside; n++ {
		aside = fmt.Sprintf("%s.broken-%d", path, n)
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return aside
}

// createState makes a file under a name of its own: bbolt cannot tell one whose
// making was interrupted from a damaged one.
func createState(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bbolt.Open(path, 0o600, stateOptions())
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets() {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return put(bucketMeta, []byte(schemaKey), schema)(tx)
	})
	return errors.Join(err, db.Close())
}

func stateOptions() *bbolt.Options {
	return &bbolt.Options{
		Timeout:      time.Second,
		PageSize:     pageSize, // also where the kernel's pages are larger: a commit writes whole pages
		FreelistType: bbolt.FreelistMapType,
	}
}

// open opens the file and reads all of it, twice.
func (s *state) open(path string, readOnly bool) error {
	s.isNew = false
	if err := checkPages(path); err != nil {
		return err
	}
	options := stateOptions()
	options.ReadOnly, options.PreLoadFreelist = readOnly, readOnly
	options.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
		s.file, err = os.OpenFile(name, flag, mode)
		return s.file, err
	}
	err := contain(func() (err error) {
		if s.db, err = bbolt.Open(path, 0o600, options); err != nil {
			return err
		}
		if err := s.bringUp(readOnly); err != nil {
			return err
		}
		return s.db.View(checkState)
	})
	if err != nil {
		return errors.Join(err, s.detach(false))
	}
	return nil
}

// checkState checks every entry, and what binds the pages together, which
// reading alone does not: a page that is free and in use would cost the next
// change a panic, at every start anew.
func checkState(tx *bbolt.Tx) (err error) {
	if err := checkSchema(tx); err != nil {
		return err
	}
	for _, name := range buckets() {
		b := tx.Bucket([]byte(name))
		if b == nil {
			return fmt.Errorf("%w: bucket %q is missing", errRotten, name)
		}
		if err := b.ForEach(func(k, v []byte) error {
			_, err := unseal(k, v)
			return err
		}); err != nil {
			return err
		}
	}
	// bbolt checks in a goroutine of its own, in which a fault ends the process.
	if file, err := os.Stat(tx.DB().Path()); err != nil || file.Size() < tx.Size() {
		return cmp.Or(err, fmt.Errorf("%w: its end, at %d bytes, is missing", errRotten, tx.Size()))
	}
	for e := range tx.Check() {
		err = cmp.Or(err, e) // all have to be taken
	}
	return err
}

// checkSchema is first: what else a later version means by a file, nobody knows.
func checkSchema(tx *bbolt.Tx) error {
	meta := tx.Bucket([]byte(bucketMeta))
	if meta == nil {
		return nil // checkState says so
	}
	if v, _ := unseal([]byte(schemaKey), meta.Get([]byte(schemaKey))); len(v) > 0 && string(v) != fmt.Sprint(schema) {
		return fmt.Errorf("%w: schema %s, this program knows %d", errNewer, v, schema)
	}
	return nil
}

// errNewer means that a later version of the program wrote the file.
var errNewer = errors.New("state.db is of a newer version")

// detach closes the file. When bbolt panicked with its locks held, closing it
// would wait for ever: the file is given back, with its lock, and the map stays.
func (s *state) detach(locked bool) (err error) {
	if s.db != nil && !locked {
		err = contain(s.db.Close)
	} else if s.file != nil {
		s.file.Close()
	}
	s.db, s.file = nil, nil
	return err
}

func (s *state) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fault.Load()
	return s.detach(f != nil && f.locked)
}

// inode tells the file from copies of it.
func (s *state) inode() uint64 {
	var stat unix.Stat_t
	if unix.Stat(s.path(), &stat) != nil {
		return 0
	}
	return stat.Ino
}

func (s *state) path() string { return filepath.Join(s.dir, stateFile) }

// salvage takes over what nothing else remembers, if all of the old file checks
// now: what failed was writing, and what was in it is true.
func (s *state) salvage(aside string) {
	old := &state{dir: s.dir, unwell: func(error) {}}
	if old.open(aside, true) != nil {
		return
	}
	defer old.close()
	_ = old.view(func(from *bbolt.Tx) error {
		return s.db.Update(func(to *bbolt.Tx) error {
			for _, name := range []string{bucketNotes, bucketQuarantine} {
				if err := from.Bucket([]byte(name)).ForEach(to.Bucket([]byte(name)).Put); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// holder names the process that has the file locked, as far as the kernel tells.
func holder(path string) string {
	const somebody = "another process"
	var stat unix.Stat_t
	locks, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Stat(path, &stat) != nil {
		return somebody
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev), stat.Ino)
	for line := range strings.Lines(string(locks)) { // 1: FLOCK  ADVISORY  WRITE 4711 fd:01:131 0 EOF
		f := strings.Fields(line)
		if len(f) < 6 || f[5] != file {
			continue
		}
		name, _ := os.ReadFile("/proc/" + f[4] + "/comm")
		return strings.TrimSpace(fmt.Sprintf("process %s %s", f[4], name))
	}
	return somebody
}
