// Package corpustest holds the folders that earlier programs have left behind, and
// what must come out of each of them. testdata/README.md tells how they were made,
// and how the next one is.
package corpustest

import (
	"archive/zip"
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed testdata/*.zip
var entries embed.FS

// Expectation is what must come out of an entry.
type Expectation struct {
	// Program is what "tidegate version" said, Commit the commit that it was built of.
	Program string `json:"program"`
	Commit  string `json:"commit"`
	// Clean says that it was told to stop; else it was killed.
	Clean bool `json:"clean"`
	// Acked means that the readings of the metric "n" with the values 1 to Acked were
	// acknowledged. Those up to Delivered are in the store of the cloud, and the cursor
	// of the uplink "cloud" says so.
	Acked     int `json:"acked"`
	Delivered int `json:"delivered"`
	// Refused is how many blocks the uplink "picky" has set aside.
	Refused int `json:"refused"`
	// Messages wait for the session "display", in any order; Retained is what the topic
	// "state" keeps.
	Messages []string `json:"messages,omitempty"`
	Retained string   `json:"retained,omitempty"`
	// Command is the id of one that was carried out.
	Command string `json:"command,omitempty"`
	// Link is the name of a link whose use was counted.
	Link string `json:"link,omitempty"`
	// Token is the name of a token, beside an operator.
	Token string `json:"token,omitempty"`
	// More ends the configuration, Door the table of the broker.
	More string `json:"more"`
	Door string `json:"door,omitempty"`
	// Sizes are those of files whose zeros at the end were cut off.
	Sizes map[string]int64 `json:"sizes"`
}

// expectationFile is beside the folders "data", of the gateway, and "cloud".
const expectationFile = "expectation.json"

// Names lists the entries.
func Names(t testing.TB) (names []string) {
	t.Helper()
	all, err := fs.Glob(entries, "testdata/*.zip")
	if err != nil || len(all) == 0 {
		t.Fatalf("no entries: %v", err)
	}
	for _, name := range all {
		names = append(names, strings.TrimSuffix(path.Base(name), ".zip"))
	}
	return names
}

// Unpack makes the folders of an entry in dir, as the program has left them.
func Unpack(t testing.TB, name, dir string) (e Expectation) {
	t.Helper()
	raw, err := entries.ReadFile("testdata/" + name + ".zip")
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := fs.ReadFile(z, expectationFile)
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	if err == nil {
		err = os.CopyFS(dir, z)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for file, size := range e.Sizes {
		if err := os.Truncate(filepath.Join(dir, file), size); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// Pack writes the folders "data" and "cloud" of dir as an entry, with what must come
// out of it.
func Pack(into, dir string, e Expectation) error {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	e.Sizes = map[string]int64{}
	for _, folder := range []string{"data", "cloud"} {
		err := filepath.WalkDir(filepath.Join(dir, folder), func(path string, f fs.DirEntry, err error) error {
			name, _ := filepath.Rel(dir, path)
			if err != nil || !f.Type().IsRegular() || left(name) {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			whole := bytes.TrimRight(text, "\x00")
			if len(whole) < len(text) {
				e.Sizes[name] = int64(len(text))
			}
			return add(z, name, whole)
		})
		if err != nil {
			return fmt.Errorf("pack %s: %w", folder, err)
		}
	}
	text, err := json.MarshalIndent(e, "", "\t")
	return errors.Join(err, add(z, expectationFile, append(text, '\n')), z.Close(), os.WriteFile(into, out.Bytes(), 0o644))
}

// left says that a file is left out: room that is only kept.
func left(name string) bool {
	base := path.Base(name)
	return base == "spare" || base == "reserve"
}

func add(z *zip.Writer, name string, text []byte) error {
	f, err := z.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, bytes.NewReader(text))
	return err
}
