package carrier

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/internal/base/whole"
)

// slotBytes is the size of each of the two slots of a state file. A save writes
// the one that is older, so a write that is torn costs that save alone; and it
// overwrites, which costs flash one block and no journal.
const slotBytes = 4096

// stateMark begins the line in each slot, with the version of what follows it.
const stateMark = "tidegate-link 1"

// statefile keeps a ledger across restarts. A slot is one line of text:
//
//	tidegate-link 1 SEQ CLEAN SEEN [START BILLED OPEN SENT RECEIVED]x4 CRC
//
// SEQ tells the newer slot, CLEAN is 1 when nothing has passed after the save;
// the four periods are today, yesterday, this month and the last. CRC is
// CRC-32C of the line before it, in hexadecimal digits.
type statefile struct {
	path string
	file *os.File
	seq  uint64
}

// record is what a slot holds.
type record struct {
	seq   uint64
	clean bool
	ledger
}

func (r *record) numbers() []*int64 {
	all := []*int64{&r.seen}
	for _, p := range []*period{&r.today, &r.yesterday, &r.thisMonth, &r.lastMonth} {
		all = append(all, &p.start, &p.billed, &p.open, &p.sent, &p.received)
	}
	return all
}

func (r *record) encode() []byte {
	clean := 0
	if r.clean {
		clean = 1
	}
	line := fmt.Appendf(nil, "%s %d %d", stateMark, r.seq, clean)
	for _, n := range r.numbers() {
		line = fmt.Appendf(line, " %d", *n)
	}
	line = fmt.Appendf(line, " %08x\n", crc32.Checksum(line, crc32.MakeTable(crc32.Castagnoli)))
	return append(line, make([]byte, slotBytes-len(line))...)
}

// errState means that a slot holds no record.
var errState = errors.New("no record of a link")

func parseRecord(slot []byte) (r record, err error) {
	line, _, found := strings.Cut(string(slot[:min(len(slot), slotBytes)]), "\n")
	end := strings.LastIndexByte(line, ' ')
	if !found || end < 0 || !strings.HasPrefix(line, stateMark+" ") {
		return record{}, errState
	}
	var crc uint32
	var clean int
	text := strings.NewReader(line[len(stateMark)+1:])
	into := []any{&r.seq, &clean}
	for _, n := range r.numbers() {
		into = append(into, n)
	}
	if _, err := fmt.Fscan(text, into...); err != nil {
		return record{}, errState
	}
	if _, err := fmt.Sscanf(line[end+1:], "%08x", &crc); err != nil || crc != crc32.Checksum([]byte(line[:end]), crc32.MakeTable(crc32.Castagnoli)) {
		return record{}, errState
	}
	for _, n := range r.numbers() {
		if *n < 0 {
			return record{}, errState
		}
	}
	r.clean = clean == 1
	return r, nil
}

// openState opens the file, or makes it, and returns the newer of its records,
// or nil: also when the file cannot be written. A file that holds none is set
// aside; kept is its new name then.
func openState(path string) (s *statefile, r *record, kept string, err error) {
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = createState(path)
	case err == nil:
		if r = newest(raw); r == nil {
			if kept, err = outOfTheWay(path, raw); err == nil {
				err = createState(path)
			}
		}
	}
	if err != nil {
		return nil, r, kept, fmt.Errorf("state of a link: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, r, kept, fmt.Errorf("state of a link: %w", err)
	}
	s = &statefile{path: path, file: file}
	if r != nil {
		s.seq = r.seq
	}
	return s, r, kept, nil
}

// outOfTheWay sets a file aside that holds no record: a damaged one in the place of
// the damaged one before, and never in that of one of a later version.
func outOfTheWay(path string, raw []byte) (name string, err error) {
	if isLater(raw) {
		return whole.KeepLater(path)
	}
	return path + ".broken", os.Rename(path, path+".broken")
}

// isLater says that a later version of the program wrote the file.
func isLater(raw []byte) bool {
	for at := 0; at < len(raw); at += slotBytes {
		rest, ok := bytes.CutPrefix(raw[at:], []byte("tidegate-link "))
		version, _, ended := bytes.Cut(rest[:min(len(rest), 10)], []byte(" "))
		if n, err := strconv.Atoi(string(version)); ok && ended && err == nil && n > 1 {
			return true
		}
	}
	return false
}

func newest(raw []byte) (best *record) {
	for at := 0; at < len(raw) && at < 2*slotBytes; at += slotBytes {
		if r, err := parseRecord(raw[at:]); err == nil && (best == nil || r.seq > best.seq) {
			best = &r
		}
	}
	return best
}

// createState makes a file of two slots without a record that counts.
func createState(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	empty := record{}
	return whole.Write(path, append(empty.encode(), make([]byte, slotBytes)...), whole.Mine(0o600))
}

// save writes the ledger into the older slot, and returns when it is on flash.
func (s *statefile) save(l ledger, clean bool) error {
	r := record{seq: s.seq + 1, clean: clean, ledger: l}
	if _, err := s.file.WriteAt(r.encode(), int64(r.seq%2)*slotBytes); err != nil {
		return fmt.Errorf("state of a link: %w", err)
	}
	if err := unix.Fdatasync(int(s.file.Fd())); err != nil {
		return fmt.Errorf("state of a link: sync %s: %w", s.path, err)
	}
	s.seq++
	return nil
}

func (s *statefile) close() error { return s.file.Close() }
