// Package fileout is the door out into files: on a stick that is carried to where
// there is a network, on a disk from which others collect.
//
//	north-20261128T142233Z-000001.ndjson.zst   finished
//	north-20261128T152233Z-000002.ndjson.part  being written
//
// A file of packed messages is their chunks, one after the other (wire/FORMAT.md);
// one of text has a record a line. "tidegate-cloud import" reads both.
//
// Custody is the sync: Send returns nil after the sync of the file that holds the
// message, and of the folder that holds the file, and after a look that the file is
// still there under its name. Messages that are sent side by side share a sync.
// Between two syncs no file is held open, so a stick can be unmounted at any time.
//
// A kill or a power cut leaves a tail that may be torn. It was not acknowledged, so
// it is cut off behind the last whole record, and the messages come again: what a
// file then holds twice has the same numbers. What each error of a disk means is in
// one file, fault.go.
package fileout

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
)

// Compression says what becomes of a finished file of text.
type Compression int

// The compressions. Packed files are compressed already, and stay as they are.
const (
	Plain Compression = iota
	Gzip
	Zstd
)

// Config says where the files go.
type Config struct {
	// Dir is the folder. It is made when it is not there.
	Dir string
	// Name is what the files' names begin with: letters, digits, dots, dashes and
	// underscores.
	Name string
	// Mount is a folder on which a file system must be mounted, Dir or above it.
	// Empty asks for none.
	Mount string
	// MaxSize is the size in bytes, and MaxAge the age, at which a file is finished
	// and another one begun. 64 MiB and an hour if zero.
	MaxSize int64
	MaxAge  time.Duration
	// Keep and KeepBytes bound the finished files, by number and by bytes; the
	// oldest go first. Zero keeps all.
	Keep      int
	KeepBytes int64
	// Compress is for finished files.
	Compress Compression
	// MinFree is how many bytes of the file system stay free, beside those that
	// Reserved, if it is not nil, says others will need in the folder.
	MinFree  int64
	Reserved func(dir string) int64
}

// Sink writes messages into files. It is safe for concurrent use. Only one may
// write into a folder under a name.
type Sink struct {
	cfg   Config
	disk  disk
	names *regexp.Regexp
	tasks sync.WaitGroup
	// packing is held by who compresses: one file at a time.
	packing sync.Mutex

	mu      sync.Mutex
	queue   []*job
	working bool            // a goroutine takes from the queue, and owns the state
	overdue bool            // the open file is too old
	leaving map[string]bool // files that are being compressed, by path
	closed  bool

	state
}

// state is what the working goroutine knows of the folder.
type state struct {
	looked   bool      // into the folder
	reserved int64     // what Reserved has said
	asked    time.Time // when it was asked
	number   int       // of the newest file
	file     *file
	expiry   *time.Timer
	joined   *bufio.Writer   // small messages, into one write
	spoiled  map[string]bool // files after a failed sync, by path: nothing is added
}

// job is a message that waits for its sync.
type job struct {
	message uplink.Message
	kind    kind
	done    chan error // takes one
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// New returns a Sink. It does not touch the folder yet.
func New(cfg Config) (*Sink, error) {
	switch {
	case !filepath.IsAbs(cfg.Dir):
		return nil, fmt.Errorf("file uplink: folder %q — hint: write an absolute path, for example /media/usb", cfg.Dir)
	case !plainName.MatchString(cfg.Name):
		return nil, fmt.Errorf("file uplink: name %q — hint: use letters, digits, dots, dashes and underscores", cfg.Name)
	}
	if cfg.MaxSize <= 0 {
		cfg.MaxSize = 64 << 20
	}
	if cfg.MaxAge <= 0 {
		cfg.MaxAge = time.Hour
	}
	return &Sink{cfg: cfg, disk: realDisk(), names: namesOf(cfg.Name), leaving: map[string]bool{}, state: state{spoiled: map[string]bool{}}}, nil
}

// Send writes the message. It returns nil when it is on stable storage; see
// fault.go for everything else.
func (s *Sink) Send(ctx context.Context, m uplink.Message) error {
	err := s.send(ctx, m)
	if err != nil {
		return fmt.Errorf("write into %s: %w", s.cfg.Dir, err)
	}
	return nil
}

func (s *Sink) send(ctx context.Context, m uplink.Message) error {
	if len(m.Pieces()) == 0 {
		return nil // no reading in it can be said
	}
	k, err := kindOf(m)
	if err != nil {
		return err
	}
	j := &job{m, k, make(chan error, 1)}
	if err := s.enqueue(j); err != nil {
		return err
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		s.forget(j)
		return fmt.Errorf("%w — hint: the disk has not answered in time; is it dying, or is its server away?", ctx.Err())
	}
}

// Probe looks whether the folder can be written to.
func (s *Sink) Probe(context.Context) (string, error) {
	free, err := s.usable()
	if err != nil {
		return "", fmt.Errorf("write into %s: %w", s.cfg.Dir, judge(err))
	}
	return fmt.Sprintf("folder %s, %s free", s.cfg.Dir, conf.Size(free).Approx()), nil
}

var errClosed = errors.New("the uplink is closed")

// closePatience is how long Close waits for a disk.
const closePatience = 10 * time.Second

// Close waits for the sync under way. The file that is being written is gone on
// with after the next start.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.tasks.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		if s.expiry != nil {
			s.expiry.Stop()
		}
		return nil
	case <-time.After(closePatience):
		return fmt.Errorf("close %s: the disk does not answer — hint: what was not acknowledged is sent again", s.cfg.Dir)
	}
}

func (s *Sink) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// usable says how much room there is, for somebody who may write there.
func (s *Sink) usable() (free int64, err error) {
	if err := s.underMount(); err != nil {
		return 0, err
	}
	if err := s.disk.makeFolder(s.cfg.Dir); err != nil {
		return 0, err
	}
	if err := s.disk.writable(s.cfg.Dir); err != nil {
		return 0, err
	}
	return s.disk.free(s.cfg.Dir)
}

// underMount reports why the folder is not on the file system that it should be on.
func (s *Sink) underMount() error {
	if s.cfg.Mount == "" {
		return nil
	}
	there, err := s.disk.mounted(s.cfg.Mount)
	if err == nil && !there {
		err = errNotMounted
	}
	return err
}
