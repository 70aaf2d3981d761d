package buffer

import (
	"os"
	"testing"
)

// a record that this version cannot read is not overwritten.
func TestRecordsOfANewerVersionAreNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1)
	r.accept("a", 2)
	r.crash()
	path := segments(t, dir)[0]
	var end int
	damage(t, path, func(b []byte) []byte { // version 2 of the block in record 1, all checksums right
		at := recordAt(b, 1)
		end = recordAt(b, 2)
		rec := b[at:end:end]
		blk := rec[recordHeader+2:] // no cursors, no notes
		blk[2] = 2
		setBlockSum(blk)
		sealRecord(rec, 1, 2)
		return b
	})
	before, _ := os.ReadFile(path)
	r = start(t, dir, nil)
	r.accept("a", 3)
	after, _ := os.ReadFile(path)
	if string(before[:end]) != string(after[:end]) {
		t.Error("a record of a newer version was overwritten: its readings were acknowledged")
	}
}

func setBlockSum(blk []byte) {
	n := int(blk[8]) | int(blk[9])<<8 | int(blk[10])<<16
	sum := crc32c(append(append([]byte(nil), blk[:4]...), blk[8:n]...))
	blk[4], blk[5], blk[6], blk[7] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
}
