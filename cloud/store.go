package cloud

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/tidegate/tidegate/wire"
)

// StoreConfig says where a Store lives.
type StoreConfig struct {
	// Dir is the folder of the store; it is made when it is not there.
	Dir string
	// ReadOnly opens a store that is already there and changes nothing.
	ReadOnly bool
	// MaxBytes bounds the store's file. A store that is full refuses what is
	// new and deletes nothing. Zero means that the disk is the bound.
	MaxBytes int
}

// fileName is the store's one file in its folder.
const fileName = "readings.db"

// ErrDamaged means that the store's file or disk cannot be trusted any more.
// Nothing is acknowledged until the store has been opened again.
var ErrDamaged = errors.New("the store is damaged")

// The buckets. Each key begins with a lane's key (laneID.key).
var (
	lanesBucket  = []byte("lanes")  // lane → summary
	rangesBucket = []byte("ranges") // lane, first → last: the numbers that are here
	blocksBucket = []byte("blocks") // lane, first → extent: the readings themselves
	gapsBucket   = []byte("gaps")   // lane, lane and number of the report → gap
	metaBucket   = []byte("meta")   // schemaKey → schema; a store without one is of schema 1
)

var schemaKey = []byte("schema")

// schema is the version of what the buckets mean: a number in decimal.
const schema = 1

// errLater means that a later version of the program wrote the file. Nothing of it is
// changed: what that one has acknowledged must be found again.
var errLater = errors.New("it is of a later version of this program")

// Store keeps readings in one bbolt file, each exactly once. It is safe for
// concurrent use and has no goroutines of its own.
type Store struct {
	db        *bbolt.DB
	verifiers chan *verifier // as many as may decode at once
	twins     twins
	now       func() time.Time

	committing sync.Mutex // held by whoever commits

	mu     sync.Mutex
	open   *group // takes deliveries until its commit begins; nil when nobody leads one
	failed error  // why nothing may be stored any more
}

// Open opens the store, and makes it when it is not there. Errors end in a
// hint. A file that cannot be opened stays as it is.
func Open(c StoreConfig) (*Store, error) {
	path := filepath.Join(c.Dir, fileName)
	if c.ReadOnly {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("open store: %w — hint: is %s the folder that \"run\" was given with -data?", err, c.Dir)
		}
	} else if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{verifiers: make(chan *verifier, runtime.GOMAXPROCS(0)), now: time.Now}
	for range cap(s.verifiers) {
		s.verifiers <- &verifier{}
	}
	err := guard(func() (err error) {
		s.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:      time.Second,
			ReadOnly:     c.ReadOnly,
			MaxSize:      c.MaxBytes,
			PageSize:     4096, // the default is this machine's, and files move
			FreelistType: bbolt.FreelistMapType,
		})
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("open store: %s is held by another process — hint: ask the running tidegate-cloud with -url http://127.0.0.1:8440", path)
	case err != nil:
		return nil, fmt.Errorf("open store %s: %w — hint: if the file is damaged, keep it, move it aside and start anew", path, err)
	}
	if err := s.view(checkSchema); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w — hint: install that version again; or start in another folder, and import into the later one what came meanwhile", path, err), s.db.Close())
	}
	if c.ReadOnly {
		return s, nil
	}
	if err := s.prepare(c.Dir); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", path, err), s.db.Close())
	}
	return s, nil
}

func checkSchema(tx *bbolt.Tx) error {
	meta := tx.Bucket(metaBucket)
	if meta == nil {
		return nil
	}
	if text := string(meta.Get(schemaKey)); text != "" && text != strconv.Itoa(schema) {
		return fmt.Errorf("%w: schema %.20q, and this one knows %d", errLater, text, schema)
	}
	return nil
}

// prepare makes the buckets and fixes the new file in its folder: an
// acknowledgement is worth nothing when a power cut takes the file's name away.
func (s *Store) prepare(dir string) error {
	err := s.update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{lanesBucket, rangesBucket, blocksBucket, gapsBucket, commandsBucket, metaBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(metaBucket).Put(schemaKey, strconv.AppendInt(nil, schema, 10))
	})
	if err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Close waits for the commit under way and closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Err says why the store takes nothing any more; nil while it does.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// Result is what became of a delivery.
type Result struct {
	// Fresh is the number of readings that were stored.
	Fresh uint64
	// Duplicates is the number of readings that were here already.
	Duplicates uint64
	// Twin says that another gateway delivers under the same name; it is so once in a while.
	Twin bool
}

// Receive verifies the chunk down to its last reading and stores what is new.
// It returns nil only after the sync of the file that holds them. An error that
// wraps wire.ErrCorrupt means that the chunk can never be stored; nothing of it
// was. ctx ends the wait for a turn, not a commit that has begun.
func (s *Store) Receive(ctx context.Context, c wire.Chunk) (Result, error) {
	if !validGateway(c.Gateway) {
		return Result{}, fmt.Errorf("receive: gateway name %q is not printable text: %w", c.Gateway, wire.ErrCorrupt)
	}
	d := &delivery{chunk: c}
	select {
	case v := <-s.verifiers:
		err := v.verify(d, s.now())
		s.verifiers <- v
		if err != nil {
			return Result{}, fmt.Errorf("receive: %w", err)
		}
	case <-ctx.Done():
		return Result{}, fmt.Errorf("receive: %w", ctx.Err())
	}
	if d.alive {
		d.twin, d.result.Twin = s.twins.live(c.Gateway, c.Epoch(), s.now())
	}
	if err := s.commit(d); err != nil {
		return Result{}, fmt.Errorf("receive: %w", err)
	}
	return d.result, nil
}

// group is the deliveries that share one transaction, and so one sync.
type group struct {
	deliveries []*delivery
	done       chan struct{} // closed when err is decided
	err        error
}

// commit makes the delivery durable together with whatever else arrives while
// the commit before is syncing. Who finds no open group leads one: alone it
// commits at once, in a crowd one sync serves all that gathered during the last.
func (s *Store) commit(d *delivery) error {
	s.mu.Lock()
	g := s.open
	leads := g == nil
	if leads {
		g = &group{done: make(chan struct{})}
		s.open = g
	}
	g.deliveries = append(g.deliveries, d)
	s.mu.Unlock()

	if leads {
		s.committing.Lock()
		s.mu.Lock()
		s.open = nil
		s.mu.Unlock()
		g.err = s.update(func(tx *bbolt.Tx) error { return store(tx, g.deliveries, s.now()) })
		s.committing.Unlock()
		close(g.done)
	}
	<-g.done
	return g.err
}

// update runs one transaction. After a failed write or sync nobody knows what
// the disk holds, and a later commit could acknowledge it unseen; so the store
// takes nothing any more. A full disk is another matter: bbolt has then written
// nothing that counts, and goes on when there is room again.
func (s *Store) update(change func(*bbolt.Tx) error) error {
	if err := s.Err(); err != nil {
		return err
	}
	err := guard(func() error { return s.db.Update(change) })
	if err == nil || isFull(err) || errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = fmt.Errorf("%w: %w — hint: check the disk, then start again", ErrDamaged, err)
	return s.failed
}

// isFull reports whether the error says that there is no room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, berrors.ErrMaxSizeReached)
}

// view runs a read-only transaction.
func (s *Store) view(look func(*bbolt.Tx) error) error {
	return guard(func() error { return s.db.View(look) })
}

// guard turns the panics with which bbolt meets a damaged file into errors,
// those of the memory map included.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return f()
}
