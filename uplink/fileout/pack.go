package fileout

import (
	"compress/gzip"
	"errors"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// pack replaces a file by a compressed one, and removes old ones. What fails is
// left for the next start: the file is whole, whatever its name.
func (s *Sink) pack(part string) {
	s.packing.Lock()
	defer s.packing.Unlock()
	if s.replace(part) == nil {
		_ = s.prune()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.leaving, part)
}

// replace leaves, after a kill, either the one or both, and then the next look
// removes what is too much. What cannot be compressed stays as it is.
func (s *Sink) replace(part string) error {
	whole := finished(part) + map[Compression]string{Gzip: ".gz", Zstd: ".zst"}[s.cfg.Compress]
	err := s.compress(part, whole+tmpEnd)
	if err == nil && s.isClosed() {
		err = errClosed // the one of this name may be another Sink's by now
	}
	if err == nil {
		err = os.Rename(whole+tmpEnd, whole)
	}
	if err != nil {
		os.Remove(whole + tmpEnd)
		if errors.Is(err, errClosed) {
			return err
		}
		return s.settle(part)
	}
	if err := s.disk.syncFolder(s.cfg.Dir); err != nil {
		return err // both stay
	}
	return os.Remove(part)
}

func (s *Sink) compress(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := s.disk.open(to, true)
	if err != nil {
		return err
	}
	var z io.WriteCloser = gzip.NewWriter(out)
	if s.cfg.Compress == Zstd {
		// One goroutine and a small window: a gateway has better things to do.
		z, err = zstd.NewWriter(out, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	}
	if err == nil {
		_, err = io.Copy(z, &interruptible{in, s})
		err = errors.Join(err, z.Close())
	}
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// interruptible is a file that ends with an error when the Sink is closed.
type interruptible struct {
	io.Reader
	s *Sink
}

// Read implements io.Reader.
func (r *interruptible) Read(b []byte) (int, error) {
	if r.s.isClosed() {
		return 0, errClosed
	}
	return r.Reader.Read(b)
}
