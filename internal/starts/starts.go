// Package starts remembers how often a program began and did not get far, and what
// it was when it last ran well: so that a crash loop after an upgrade says so.
//
// starts.json is written once when the program begins, and once more when it has run
// well for a minute or was told to end before that. Nothing is written afterwards, and
// nothing depends on the file: without it, nobody is told.
package starts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/internal/base/whole"
)

const (
	recordFile = "starts.json"
	// format is the version of the file.
	format = 1
	// maxFile bounds what is read, in bytes.
	maxFile = 4096
)

// Good is how long a program must run to have started well.
const Good = time.Minute

// Loop is how many starts in a row must have failed before anybody is told.
const Loop = 3

// Program is one that is started.
type Program struct {
	Version string `json:"version"`
	// Build tells apart what has one version: a revision, or size and time of the
	// file. It is for people.
	Build string `json:"build"`
}

// Itself is this program, of that version.
func Itself(version string) Program {
	p := Program{Version: version}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				p.Build = s.Value[:min(len(s.Value), 12)] + " "
			}
		}
	}
	if info, err := os.Stat("/proc/self/exe"); err == nil {
		p.Build += fmt.Sprintf("%d bytes of %s", info.Size(), info.ModTime().UTC().Format(time.DateTime))
	}
	return p
}

// String is the version, and the build in brackets.
func (p Program) String() string { return fmt.Sprintf("%s (%s)", p.Version, p.Build) }

// Record is what is known of the starts before.
type Record struct {
	Format int `json:"format"`
	// Last began last, at Began by a clock that may have been wrong.
	Last  Program   `json:"last"`
	Began time.Time `json:"began"`
	// Boot is the boot of the machine that it began in; 0 if that is not known.
	Boot uint32 `json:"boot,omitempty"`
	// Failed is how many starts of Last in a row did not end well, the last one
	// included while it is not known to.
	Failed int `json:"failed"`
	// Good is what ran well last; nil if nothing is known to have.
	Good *Program `json:"good,omitempty"`
}

// errLater means that a later version of the program wrote the file.
var errLater = errors.New("is of a later version of the program")

// Read returns the record in the folder, without changing it. A missing one is no
// error.
func Read(dir string) (r Record, err error) {
	f, err := os.Open(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return r, err
	}
	return parse(text)
}

func parse(text []byte) (r Record, err error) {
	err = json.Unmarshal(text, &r)
	switch {
	case r.Format > format: // whatever else it holds
		return Record{}, fmt.Errorf("%s %w", recordFile, errLater)
	case err != nil:
		return Record{}, fmt.Errorf("%s: %w", recordFile, err)
	}
	r.Failed = max(r.Failed, 0)
	return r, nil
}

// Loops says in a sentence that p does not get on its legs; empty if it does.
func (r Record) Loops(p Program) string {
	if r.Failed < Loop || r.Last != p {
		return ""
	}
	text := fmt.Sprintf("the last %d starts ended by themselves within a minute", r.Failed)
	switch {
	case r.Good == nil || *r.Good == p:
		return text + " — hint: see \"journalctl -u tidegate\"; \"tidegate diag\" packs what support wants to see"
	case r.Good.Version == p.Version:
		return text + fmt.Sprintf(", since the program %s took the place of %s — hint: install the package before again, if it was kept", p.Build, r.Good.Build)
	}
	return text + fmt.Sprintf(", since the upgrade from %s to %s — hint: go back to the package of it that was kept: \"apt install --allow-downgrades ./tidegate_%s_ARCH.deb\"",
		r.Good, p, r.Good.Version)
}

// Later says whether version a is later than b: numbers between dots.
func Later(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, errX := strconv.Atoi(as[i])
		y, errY := strconv.Atoi(bs[i])
		if errX != nil || errY != nil || x != y {
			return errX == nil && errY == nil && x > y
		}
	}
	return len(as) > len(bs)
}

// Start is one that goes on.
type Start struct {
	// Before is what was known when it began. Failed counts this program only.
	Before Record
	// Crash is what the program said last when it ended by a panic or a signal before
	// this start; empty if it said nothing.
	Crash string

	dir string

	mu     sync.Mutex
	record Record
	timer  *time.Timer // nil when it is over
}

// Begin notes that p begins, and that it has failed unless something else is noted
// later. boot names this boot of the machine. An error means that it is not noted; the
// Start can be used all the same.
func Begin(dir string, p Program, boot uint32) (*Start, error) {
	s := &Start{dir: dir}
	var err error
	if s.Before, err = Read(dir); errors.Is(err, errLater) {
		return s, err // its own program will read it
	}
	if is := s.Before.Boot; is != 0 && is != boot && s.Before.Failed > 0 {
		s.Before.Failed-- // the machine ended that one, maybe by a power cut, and not the program itself
	}
	s.record = Record{Format: format, Last: p, Began: time.Now().UTC().Truncate(time.Second), Boot: boot, Good: s.Before.Good}
	if s.Before.Last == p {
		s.record.Failed = s.Before.Failed
	}
	s.record.Failed++
	if err := write(dir, s.record); err != nil {
		return s, err
	}
	s.Crash, err = collect(dir)
	return s, err
}

// Loops is Record.Loops of what was known when this start began.
func (s *Start) Loops() string { return s.Before.Loops(s.record.Last) }

// Run says that the program is ready: unless it ends within a minute, it has started
// well.
func (s *Start) Run() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.record.Failed > 0 {
		s.timer = time.AfterFunc(Good, func() { _ = s.End() }) // then nobody is told anything wrong but too much
	}
}

// End says that the program has run well, or was told to end.
func (s *Start) End() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halt()
	if s.record.Failed == 0 { // or a later version's file is there
		return nil
	}
	good := s.record.Last
	s.record.Failed, s.record.Good = 0, &good
	return write(s.dir, s.record)
}

// Halt says that the program ends, and not that it was told to.
func (s *Start) Halt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halt()
}

func (s *Start) halt() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// Well says whether it has run well by now.
func (s *Start) Well() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.Failed == 0
}

// Withdraw takes back what Begin has noted: it was no start, because the program runs
// already.
func (s *Start) Withdraw() {
	if s.record.Format == 0 {
		return
	}
	if s.Before.Format == 0 {
		_ = os.Remove(filepath.Join(s.dir, recordFile)) // and too much is counted
		return
	}
	_ = write(s.dir, s.Before)
}

func write(dir string, r Record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return whole.Write(filepath.Join(dir, recordFile), append(text, '\n'), whole.Mine(0o600))
}
