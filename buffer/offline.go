package buffer

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrInUse means that another process has the buffer open.
var ErrInUse = errors.New("another process holds the buffer")

// inUse is ErrInUse in the words of somebody who wants the buffer.
type inUse string

func (e inUse) Error() string        { return string(e) }
func (e inUse) Is(target error) bool { return target == ErrInUse }

// ReadInventory returns what the folder of a buffer holds that no process has
// open. It writes nothing. A state.db that is missing or damaged is told in
// StateError; the segment files say the rest.
func ReadInventory(ctx context.Context, dir string) (Inventory, error) {
	files, _, err := listSegments(dir)
	if err == nil && len(files) == 0 {
		_, err = os.Stat(dir)
	}
	if err != nil {
		return Inventory{}, err
	}
	inv := Inventory{Dir: dir}
	noted, err := inv.readStateFile(filepath.Join(dir, stateFile))
	if err != nil {
		return inv, err
	}
	numbers := slices.AppendSeq(slices.Clone(files), maps.Keys(noted))
	slices.Sort(numbers)
	for _, n := range slices.Compact(numbers) {
		info, known := noted[n]
		if head := segmentHead(dir, n); !known || head != 0 && info.Head != 0 && head != info.Head {
			if info, err = inv.survey(ctx, n); err != nil {
				return inv, err
			}
		}
		inv.Segments = append(inv.Segments, info.public())
	}
	return inv, nil
}

// readStateFile takes what the file knows, and returns the segments that it has
// noted.
func (inv *Inventory) readStateFile(path string) (noted map[uint64]segmentInfo, err error) {
	noted = map[uint64]segmentInfo{}
	if _, err := os.Stat(path); err != nil {
		inv.StateError = err.Error() // bbolt would make one
		return noted, nil
	}
	s := &state{dir: inv.Dir, unwell: func(error) {}}
	err = s.open(path, true)
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, ErrInUse
	}
	if isOfProcess(err) {
		return nil, err
	}
	if err != nil {
		inv.StateError = err.Error()
		return noted, nil
	}
	defer s.close()
	err = errors.Join(
		inv.readState(s),
		each(s, bucketSegments, func(_ []byte, info segmentInfo) error { noted[info.Number] = info; return nil }),
		get(s, bucketMeta, sessionKey, func(end session) {
			inv.Epoch = end.Epoch
			if end.Clean && end.Last.Number != 0 {
				noted[end.Last.Number] = end.Last
			}
		}))
	if err != nil {
		inv.StateError = err.Error()
	}
	return noted, nil
}

// survey reads a segment that nobody has noted: what it holds, and the places of
// sinks in its records.
func (inv *Inventory) survey(ctx context.Context, number uint64) (segmentInfo, error) {
	info := segmentInfo{Number: number}
	r, err := inv.view().open(Segment{Number: number})
	if errors.Is(err, fs.ErrNotExist) {
		return info, ErrInUse // it was here a moment ago
	}
	if err != nil {
		return info, err
	}
	defer r.close()
	for {
		rec, err := r.read(ctx)
		switch {
		case errors.Is(err, errEnd):
			return info, nil
		case errors.Is(err, errChanged):
			return info, ErrInUse
		case errors.As(err, new(*readError)):
			return info, nil // Check says so
		case err != nil:
			return info, err
		}
		for _, blk := range rec.blocks {
			info.add(blk)
		}
		for _, m := range rec.cursors {
			inv.setSink(Sink{Name: m.name, Acked: m.acked})
		}
		info.End = r.off
	}
}
