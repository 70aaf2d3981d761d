package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// wirePair is a connection whose peer has said everything already.
type wirePair struct {
	io.Reader
	out bytes.Buffer
}

func (w *wirePair) Write(p []byte) (int, error) { return w.out.Write(p) }

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	greeting = "4e42444d41474943 49484156454f5054 0003"
	cflags   = "00000003"
	goDisk   = "49484156454f5054 00000007 0000000a 00000004 6469736b 0000"
	replied  = "0003e889045565a9"
)

func TestHandshakeByteForByte(t *testing.T) {
	const export = "0000 0000000000008000 016d"
	const block = "0003 00000200 00001000 02000000"
	for name, test := range map[string]struct{ says, hears string }{
		"go": {goDisk, replied + "00000007 00000003 0000000c" + export +
			replied + "00000007 00000003 0000000e" + block + replied + "00000007 00000001 00000000"},
		"info, with a wish, then abort": {"49484156454f5054 00000006 00000008 00000000 0001 0003" + "49484156454f5054 00000002 00000000",
			replied + "00000006 00000003 0000000c" + export + replied + "00000006 00000003 0000000e" + block +
				replied + "00000006 00000001 00000000" + replied + "00000002 00000001 00000000"},
		"list": {"49484156454f5054 00000003 00000000",
			replied + "00000003 00000002 00000008 00000004 6469736b" + replied + "00000003 00000001 00000000"},
		"list with data":     {"49484156454f5054 00000003 00000001 00", replied + "00000003 80000003 00000000"},
		"structured replies": {"49484156454f5054 00000008 00000000", replied + "00000008 80000001 00000000"},
		"another export":     {"49484156454f5054 00000007 00000007 00000001 78 0000", replied + "00000007 80000006 00000000"},
		"a name too long":    {"49484156454f5054 00000007 00000006 ffffffff 0000", replied + "00000007 80000003 00000000"},
		"wishes missing":     {"49484156454f5054 00000007 00000006 00000000 0001", replied + "00000007 80000003 00000000"},
		"export name":        {"49484156454f5054 00000001 00000004 6469736b", "0000000000008000 016d"},
	} {
		w := &wirePair{Reader: bytes.NewReader(unhex(t, cflags+test.says))}
		converse(opened(t, 64, 8, 1, false), w)
		if want := unhex(t, greeting+test.hears); !bytes.Equal(w.out.Bytes(), want) {
			t.Errorf("%s:\n% x, want\n% x", name, w.out.Bytes(), want)
		}
	}
}

func TestExportNameIsPaddedForOldClients(t *testing.T) {
	w := &wirePair{Reader: bytes.NewReader(unhex(t, "00000001 49484156454f5054 00000001 00000000"))}
	if err := converse(opened(t, 64, 8, 1, false), w); err != nil {
		t.Fatal(err)
	}
	if n := w.out.Len(); n != 18+10+124 {
		t.Errorf("%d bytes", n)
	}
}

func TestWrongRequestsAreAnsweredAndDoNothing(t *testing.T) {
	d := opened(t, 64, 8, 1, false)
	c := connected(t, d)
	const size = 64 * sector
	for name, test := range map[string]struct {
		kind, flags uint16
		at          int64
		length      int
		data        []byte
		want        uint32
	}{
		"read beyond":         {0, 0, size - 512, 1024, nil, 22},
		"read far beyond":     {0, 0, -512, 1024, nil, 22},
		"read too much":       {0, 0, 0, 64 << 20, nil, 22},
		"read half a sector":  {0, 0, 0, 100, nil, 22},
		"write beyond":        {1, 0, size, 512, filled(1, 1), 28},
		"write off a sector":  {1, 0, 10, 512, filled(1, 1), 22},
		"write, unknown flag": {1, 4, 0, 512, filled(1, 1), 22},
		"zeroes beyond":       {6, 0, 512, size, nil, 28},
		"trim beyond":         {4, 1, 0, size + 512, nil, 28},
		"cache":               {5, 0, 0, 512, nil, 22},
		"resize":              {8, 0, 0, 1 << 20, nil, 22},
		"no such request":     {77, 0, 0, 512, nil, 22},
		"nothing":             {0, 0, 0, 0, nil, 0},
		"flush":               {3, 0, 0, 0, nil, 0},
	} {
		if got, err := c.do(test.kind, test.flags, test.at, test.length, test.data, nil); got != test.want || err != nil {
			t.Errorf("%s: error %d, want %d; %v", name, got, test.want, err)
		}
	}
	content := make([]byte, size)
	c.must(t, 0, 0, 0, size, nil, content)
	if !bytes.Equal(content, make([]byte, size)) {
		t.Error("something was written")
	}
}

// TestClaimsCostNothing promises 32 MiB and sends none.
func TestClaimsCostNothing(t *testing.T) {
	d := opened(t, 1<<17, 8, 1, false)
	says := unhex(t, cflags+goDisk+"25609513 0000 0001 0000000000000001 0000000000000000 02000000")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := converse(d, &wirePair{Reader: bytes.NewReader(says)})
	runtime.ReadMemStats(&after)
	if spent := after.TotalAlloc - before.TotalAlloc; err == nil || spent > 1<<20 {
		t.Errorf("%d bytes were allocated, %v", spent, err)
	}
}

// FuzzConverse holds what a disk must hold whatever it is told: it ends, stays
// within its cache and its size, and only a write can change what is on it.
func FuzzConverse(f *testing.F) {
	const write = "25609513 0001 0001 0000000000000001 0000000000000000 00000200"
	const zeroes = "25609513 0000 0006 0000000000000002 0000000000000200 00000400"
	const rest = "25609513 0000 0000 0000000000000003 0000000000000000 00001000" +
		"25609513 0000 0003 0000000000000004 0000000000000000 00000000" + "25609513 0000 0002 0000000000000005 0000000000000000 00000000"
	f.Add(append(append(unhex(f, cflags+goDisk+write), filled(7, 1)...), unhex(f, zeroes+rest)...))
	f.Add(unhex(f, cflags+"49484156454f5054 00000003 00000000"+goDisk+rest))
	f.Add(unhex(f, "00000000 49484156454f5054 00000001 00000000"+zeroes))
	f.Add(unhex(f, "ffffffff"))
	one := opened(f, 64, 8, 1, false) // a file for each input would take most of the time
	f.Fuzz(func(t *testing.T, says []byte) {
		if err := errors.Join(one.file.Truncate(0), one.file.Truncate(one.size)); err != nil {
			t.Fatal(err)
		}
		d := &disk{file: one.file, size: one.size, most: 8, cache: make(map[int64]*[sector]byte), random: rand.New(rand.NewPCG(1, 0))}
		w := &wirePair{Reader: bytes.NewReader(says)}
		converse(d, w)
		if len(d.cache) > 8 {
			t.Errorf("%d sectors in a cache of 8", len(d.cache))
		}
		if most := 20000 + len(says)/28*(64*sector+16) + 100*(len(says)/16+1); w.out.Len() > most {
			t.Errorf("%d bytes answer %d", w.out.Len(), len(says))
		}
		if err := d.flush(); err != nil {
			t.Fatal(err)
		}
		content := make([]byte, 64*sector+1)
		n, _ := d.file.ReadAt(content, 0)
		if n != 64*sector {
			t.Fatalf("the disk has %d bytes now", n)
		}
		if d.count.Writes == 0 && !bytes.Equal(content[:n], make([]byte, n)) {
			t.Error("nobody wrote, and there is something")
		}
	})
}
