package buffer

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// call is one system call that succeeded, or a line of what was said.
type call struct {
	name     string // of the file, "" for the folder
	sync     bool
	off      int64 // where data go; the new length when data are nil
	data     []byte
	create   bool
	renameTo string
	unlink   bool
	said     string
}

func (c call) String() string {
	return fmt.Sprintf("%s sync=%v off=%d n=%d create=%v rename=%q unlink=%v said=%q", c.name, c.sync, c.off, len(c.data), c.create, c.renameTo, c.unlink, c.said)
}

func recordCalls(t *testing.T) []call {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("recording system calls needs strace")
	}
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	cmd := exec.Command(strace, "-f", "-y", "-xx", "-s", "9000000", "-o", log,
		"-e", "trace=write,pwrite64,fsync,fdatasync,openat,renameat,renameat2,unlinkat,ftruncate,fallocate",
		os.Args[0], "-test.run=^TestPowerCutWorkload$")
	cmd.Env = append(os.Environ(), "TIDEGATE_POWERCUT_DIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("strace: %v: %s", err, out[max(len(out)-2000, 0):])
	}
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var calls []call
	begun := map[string]string{} // by process: a call that another interrupted
	for lines := bufio.NewReaderSize(f, 1<<20); ; {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return calls
		}
		pid, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		if head, cut := strings.CutSuffix(rest, " <unfinished ...>"); cut {
			begun[pid] = head
			continue
		}
		if strings.HasPrefix(rest, "<... ") {
			_, tail, _ := strings.Cut(rest, " resumed>")
			rest = begun[pid] + tail
		}
		if c, ok := parseCall(dir, rest); ok {
			calls = append(calls, c)
		}
	}
}

var result = regexp.MustCompile(`\) += (-?\d+)`)

// parseCall reads one line of strace's. The arguments are file, text and
// numbers, or two files with their names behind them.
func parseCall(dir, line string) (c call, ok bool) {
	kind, args, _ := strings.Cut(line, "(")
	end := result.FindAllStringSubmatchIndex(args, -1)
	if end == nil || strings.HasPrefix(args[end[len(end)-1][2]:], "-") {
		return c, false
	}
	words := strings.Split(args[:end[len(end)-1][0]], ", ")
	text := func(i int) string { // "\x41" or 7<\x41>
		s := words[i]
		if a := strings.IndexAny(s, `"<`); a >= 0 {
			s = strings.TrimRight(s[a+1:], `">.`)
		}
		b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
		if err != nil {
			return s // strace left it as it is
		}
		return string(b)
	}
	number := func(i int) int64 { n, _ := strconv.ParseInt(words[i], 10, 64); return n }
	path := func(i int) string { return text(i) }
	switch kind {
	case "write":
		c.said = text(1)
		return c, strings.HasPrefix(words[0], "1<")
	case "pwrite64":
		c = call{data: []byte(text(1)), off: number(3)}
	case "fsync", "fdatasync":
		c.sync = true
	case "ftruncate":
		c.off = number(1)
	case "fallocate":
		c.off = number(3)
	case "openat":
		c.create = strings.Contains(words[2], "O_CREAT")
		path = func(int) string { return text(1) }
		ok = !c.create
	case "renameat", "renameat2":
		c.renameTo = filepath.Base(text(3))
		path = func(int) string { return text(1) }
	case "unlinkat":
		c.unlink = true
		path = func(int) string { return text(1) }
	}
	p := path(0)
	if ok || p != dir && filepath.Dir(p) != dir {
		return c, false
	}
	c.name = strings.TrimPrefix(strings.TrimPrefix(p, dir), "/")
	return c, true
}
