package fileout

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/uplink"
)

// A document that was cut is as many records, and one of which nothing is left is
// none.
func TestEveryPieceIsARecord(t *testing.T) {
	s := newSink(t, Config{})
	m := uplink.Message{Key: keyOf(1), ContentType: "application/json", Body: []byte(`{"n":1}{"n":2}{"n":3}`)}
	for i := range 3 {
		m.Parts = append(m.Parts, uplink.Part{Body: m.Body[7*i : 7*i+7], First: uint64(i), Last: uint64(i), Count: 1})
	}
	send(t, s, m)
	m.Body, m.Parts = nil, []uplink.Part{}
	send(t, s, m, document(4, 1))
	if got := numbers(t, content(t, s.cfg.Dir)); !slices.Equal(got, []int{1, 2, 3, 4}) {
		t.Errorf("records %v", got)
	}
}

// A line that the next start would not take for a record, and cut off, is not
// acknowledged in the first place.
func TestNoLineIsLongerThanIsRead(t *testing.T) {
	s := newSink(t, Config{})
	long := func(size int) uplink.Message {
		m := document(1, 0)
		m.Body = document(1, size-len(m.Body)).Body
		return m
	}
	send(t, s, long(maxLine-1)) // and its end
	if err := s.Send(t.Context(), long(maxLine)); !uplink.IsTooLarge(err) {
		t.Errorf("a line of %d bytes and its end: %v", maxLine, err)
	}
	two := uplink.Message{Key: keyOf(2), ContentType: "application/x-ndjson", Body: slices.Concat(long(maxLine-1).Body, []byte("\n"), document(2, 1).Body, []byte("\n"))}
	send(t, s, two)
	two.Body = bytes.Replace(two.Body, []byte("xx"), []byte("xxx"), 1)
	if err := s.Send(t.Context(), two); !uplink.IsTooLarge(err) {
		t.Errorf("one of two lines is too long: %v", err)
	}
	again := newSink(t, Config{Dir: s.cfg.Dir}) // after a kill
	send(t, again, document(3, 1))
	if got := numbers(t, content(t, s.cfg.Dir)); !slices.Equal(got, []int{1, 1, 2, 3}) {
		t.Errorf("records %v after a start", got)
	}
}

// A stick that goes between the look for it and the making of a file leaves the
// file in the folder below: it is not acknowledged, and does not stay there.
func TestNothingIsAcknowledgedBelowAMount(t *testing.T) {
	s := newSink(t, Config{Mount: "/"})
	looks := 0
	s.disk.mounted = func(string) (bool, error) {
		looks++
		return looks == 1, nil
	}
	if err := s.Send(t.Context(), document(1, 1)); !errors.Is(err, errNotMounted) {
		t.Errorf("the stick has gone, and Send says %v", err)
	}
	if left, err := os.ReadDir(s.cfg.Dir); err != nil || len(left) > 0 {
		t.Errorf("%v are left in the folder below, %v", left, err)
	}
	s.disk.mounted = func(string) (bool, error) { return true, nil }
	send(t, s, document(2, 1))
}

// A file that was begun by a clock that was years ahead is finished in time after
// the next start: whoever collects files does not wait for years.
func TestFileOfTheFutureIsFinishedInTime(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		stamp := time.Now().AddDate(10, 0, 0).UTC().Format(stampForm)
		if err := os.WriteFile(filepath.Join(dir, "north-"+stamp+"-000003.ndjson.part"), []byte("{\"n\":1}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := newSink(t, Config{Dir: dir, MaxAge: time.Minute})
		send(t, s, document(2, 1))
		if got := names(t, dir); !slices.Equal(got, []string{"north-T-000003.ndjson.part"}) {
			t.Errorf("files %q", got)
		}
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if got := names(t, dir); !slices.Equal(got, []string{"north-T-000003.ndjson"}) {
			t.Errorf("files %q after its time", got)
		}
	})
}

// However little may be kept, the newest finished file is.
func TestTheNewestFileIsKept(t *testing.T) {
	s := newSink(t, Config{MaxSize: 1, KeepBytes: 1})
	for n := range 4 {
		send(t, s, document(n, 10))
	}
	if got := names(t, s.cfg.Dir); !slices.Equal(got, []string{"north-T-000003.ndjson", "north-T-000004.ndjson.part"}) {
		t.Errorf("files %q", got)
	}
}

// A compressed file whose name is not known to be durable does not replace the one
// that it was made of.
func TestBothFilesStayWhileTheNameIsInDoubt(t *testing.T) {
	s := newSink(t, Config{MaxSize: 1, Compress: Gzip})
	send(t, s, document(1, 10))
	packed := make(chan struct{})
	s.disk.syncFolder = func(dir string) error {
		if gz, _ := filepath.Glob(filepath.Join(dir, "*.gz")); len(gz) > 0 {
			defer func() { packed <- struct{}{} }()
			return errors.New("the folder cannot be synced")
		}
		return syncFolder(dir)
	}
	part := s.file.path
	s.leaving[part] = true
	go s.pack(part)
	<-packed
	s.packing.Lock() // pack has ended
	defer s.packing.Unlock()
	if got := names(t, s.cfg.Dir); !slices.Equal(got, []string{"north-T-000001.ndjson.gz", "north-T-000001.ndjson.part"}) {
		t.Errorf("files %q", got)
	}
}
