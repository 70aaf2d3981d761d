package buffer

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// spoiled is a file some of whose pages cannot be read.
type spoiled struct {
	*os.File
	bad func(page int64) bool
}

func (s spoiled) ReadAt(p []byte, off int64) (int, error) {
	for page := off / pageSize; page <= (off+int64(len(p))-1)/pageSize; page++ {
		if s.bad(page) {
			return 0, unix.EIO
		}
	}
	return s.File.ReadAt(p, off)
}

func TestBadSpotCostsItsOwnRecordOnly(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	for n := range 5 {
		r.acceptAll(noise("a", n, 10000))
	}
	r.stop()
	for _, test := range []struct {
		name string
		bad  func(page int64) bool
		want int
		err  error
	}{
		{"page in the third record", func(page int64) bool { return page == 6 }, 4, errEnd},
		{"first page", func(page int64) bool { return page == 0 }, 4, errEnd},
		{"everything", func(int64) bool { return true }, 0, unix.EIO},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := openScanner(dir, 1, segmentSize)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			s.file = spoiled{s.file.(*os.File), test.bad}
			n := 0
			for {
				if _, _, err = s.next(); err != nil {
					break
				}
				n++
			}
			if n != test.want || !errors.Is(err, test.err) {
				t.Errorf("%d records, then %v; want %d, then %v", n, err, test.want, test.err)
			}
		})
	}
}
