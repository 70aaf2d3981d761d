package daemon

import (
	"bytes"
	"compress/gzip"
	"flag"
	"os"
	"testing"
)

var updateExample = flag.Bool("update-example", false, "pack example.toml.gz anew")

// TestTheExampleIsPacked holds the two files equal: people write the one, the program
// carries the other.
func TestTheExampleIsPacked(t *testing.T) {
	want := readFile(t, "example.toml")
	if *updateExample {
		var packed bytes.Buffer
		zip, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := zip.Write([]byte(want)); err != nil {
			t.Fatal(err)
		}
		if err := zip.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("example.toml.gz", packed.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if ExampleConfig() != want {
		t.Error("example.toml was changed — hint: go test ./daemon -run ExampleIsPacked -update-example")
	}
}
