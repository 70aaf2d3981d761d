package daemon

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/internal/corpustest"
)

// A folder whose every file is of a later version: the gateway starts, takes readings
// and delivers them, says what is wrong, and keeps each of the files.
func TestAFolderOfALaterVersionIsKept(t *testing.T) {
	s := newSite(t)
	want := corpustest.Unpack(t, "8-page", s.dir)
	s.settle(want, porttest.For(t))
	segments := s.ofALaterVersion()
	before := s.everyFile()
	s.startCloud()
	m := &corpusMaker{site: s, gateway: "tidegate", want: corpustest.Expectation{Acked: want.Acked}}
	m.begin()
	m.publishUpTo(want.Acked + 20)
	s.eventuallyStatus("what is new is delivered, and what is kept is told", func(st dashboard.Status) bool {
		return len(st.Links) == 2 && st.Links[0].Acked >= 40 && st.Links[0].Waiting == 0 &&
			slices.ContainsFunc(st.Problems, func(p string) bool { return strings.Contains(p, "of readings are of a later version of the program") })
	})
	m.running.stop()
	after := s.everyFile()
	for name, text := range before {
		there := func(kept string) bool { return strings.HasPrefix(kept, name) && bytes.Equal(after[kept], text) }
		if !slices.ContainsFunc(keys(after), there) {
			t.Errorf("%s is gone", name)
		}
	}
	for _, words := range []string{
		"readings of a later version of the program are kept for it", "state.db is of a later version of the program and is set aside for it",
		"operator.json is of a later version of the program", "tokens.json is of a later version of the program",
		"starts.json is of a later version of the program", "lte.later-1",
	} {
		if !strings.Contains(s.said(), words) {
			t.Errorf("it does not say %q", words)
		}
	}
	if text := s.checked(); !strings.Contains(text, "state.db.later-1") || !strings.Contains(text, "lte.later-1") {
		t.Errorf("check:\n%s", text)
	}

	setRecordVersion(t, segments, '2') // the later version comes back
	m.begin()
	m.publishUpTo(want.Acked + 40)
	s.eventuallyAshore()
	s.checkNumbers(want.Acked + 40)
	m.running.stop()
}

// eventuallyAshore waits until the first of two uplinks has everything.
func (s *site) eventuallyAshore() {
	s.Helper()
	s.eventuallyStatus("everything is delivered", func(st dashboard.Status) bool {
		return len(st.Links) == 2 && st.Links[0].Waiting == 0 && st.Links[0].InFlight == 0 && st.Links[0].Acked > 0
	})
}

// everyFile returns what is in the files of data_dir, but for those that are written
// anew all the time.
func (s *site) everyFile() map[string][]byte {
	s.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(s.data, func(path string, f fs.DirEntry, err error) error {
		if err != nil || !f.Type().IsRegular() || slices.Contains([]string{"spare", "reserve", "network"}, f.Name()) {
			return err
		}
		all[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return all
}

// setRecordVersion changes the version of all records in the segments.
func setRecordVersion(t *testing.T, segments []string, version byte) {
	t.Helper()
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	for _, path := range segments {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; bytes.HasPrefix(text[at:], []byte("tgR")); {
			text[at+3] = version
			sum := crc32.Checksum(text[at+8:at+32], castagnoli)
			if version > '2' {
				sum = crc32.Update(sum, castagnoli, []byte{version})
			}
			binary.LittleEndian.PutUint32(text[at+4:], sum)
			at += 32 + int(binary.LittleEndian.Uint32(text[at+24:]))
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func keys(files map[string][]byte) (names []string) {
	for name := range files {
		names = append(names, name)
	}
	return names
}

// ofALaterVersion makes every file in data_dir one of a later version, and returns the
// segments.
func (s *site) ofALaterVersion() (segments []string) {
	s.Helper()
	segments, err := filepath.Glob(filepath.Join(s.data, "journal", "*.seg"))
	if err != nil || len(segments) == 0 {
		s.Fatal(err)
	}
	setRecordVersion(s.T, segments, '9')
	db, err := bbolt.Open(filepath.Join(s.data, "journal", "state.db"), 0o600, nil)
	if err != nil {
		s.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		sum := crc32.Checksum([]byte("schema2"), crc32.MakeTable(crc32.Castagnoli))
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.LittleEndian.AppendUint32([]byte("2"), sum))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		s.Fatal(err)
	}
	for name, text := range map[string]string{
		"operator.json": `{"version":2,"passkey":["x"]}`, "tokens.json": `{"version":2,"tokens":{"a":1}}`,
		"starts.json": `{"format":2}`, "links/lte": "tidegate-link 2 9 9 9\n" + strings.Repeat("\x00", 8000),
	} {
		if err := os.WriteFile(filepath.Join(s.data, name), []byte(text), 0o600); err != nil {
			s.Fatal(err)
		}
	}
	return segments
}
