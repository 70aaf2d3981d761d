package buffer

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// call is one system call that changed the folder, or a line that was said.
type call struct {
	kind callKind
	name string // of the file
	to   string // the other name of a rename, an exchange or a link
	off  int64  // where data go; the length of a truncate or an extend
	data []byte // what is written, or what was said
}

type callKind string

const (
	isWrite    callKind = "write"
	isAppend   callKind = "append"   // a write where the last one ended
	isTruncate callKind = "truncate" // to off, whatever there was
	isExtend   callKind = "extend"   // to off, if it was shorter
	isSync     callKind = "sync"
	isSyncDir  callKind = "sync of the folder"
	isCreate   callKind = "create"
	isRename   callKind = "rename"
	isExchange callKind = "exchange"
	isLink     callKind = "link"
	isUnlink   callKind = "unlink"
	isSaid     callKind = "said"
)

func (c call) String() string {
	if c.kind == isSaid {
		return fmt.Sprintf("said %q", c.data)
	}
	return fmt.Sprintf("%s %s to=%q off=%d n=%d", c.kind, c.name, c.to, c.off, len(c.data))
}

// harmless are the calls that may name the folder and change nothing in it that
// a power cut could take back. Any other must be one that parseCall understands.
func harmless(kind, args string) bool {
	switch kind {
	case "close", "epoll_ctl", "fadvise64", "fcntl", "flock", "fstat", "fstatfs", "getdents64", "newfstatat",
		"faccessat2", "pread64", "read", "readlinkat", "statfs", "statx", "execve":
		return true
	case "lseek":
		return strings.Contains(args, "SEEK_HOLE") || strings.Contains(args, "SEEK_DATA")
	case "mmap":
		return !strings.Contains(args, "PROT_WRITE") || !strings.Contains(args, "MAP_SHARED")
	case "openat":
		return !strings.Contains(args, "O_CREAT") && !strings.Contains(args, "O_TRUNC") && !strings.Contains(args, "SYNC")
	}
	return false
}

// recordCalls runs this binary again under strace and returns what it changed in the
// folder, and what it said on its standard output.
func recordCalls(t *testing.T, dir string, cmd *exec.Cmd) []call {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("recording system calls needs strace: apt-get install strace")
	}
	log, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args := []string{strace, "-f", "-y", "-xx", "-s", "9000000", "-o", "/dev/fd/3",
		"-e", "trace=%file,%desc,msync,sync", "-e", "raw=read,pread64", "--"}
	cmd.Path, cmd.Args, cmd.ExtraFiles = strace, slices.Concat(args, cmd.Args), []*os.File{end}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := errors.Join(cmd.Start(), end.Close()); err != nil {
		t.Fatal(err)
	}
	calls, err := readCalls(dir, bufio.NewReaderSize(log, 1<<20))
	log.Close() // after an error, strace must not wait for us
	if ended := cmd.Wait(); ended != nil && err == nil {
		if probe := exec.Command(strace, "-o", os.DevNull, "true").Run(); probe != nil {
			t.Skipf("strace does not work here: %v", probe)
		}
		t.Fatalf("%v: %s", ended, out.Bytes()[max(out.Len()-2000, 0):])
	}
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// readCalls reads the lines of strace in the order in which the calls ended.
func readCalls(dir string, log *bufio.Reader) (calls []call, err error) {
	begun := map[string]string{} // by process: a call that another interrupted
	for {
		line, err := log.ReadString('\n')
		if err == io.EOF {
			return calls, nil
		}
		if err != nil {
			return nil, err
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
		more, err := parseCall(dir, rest)
		if err != nil {
			return nil, err
		}
		calls = append(calls, more...)
	}
}

var (
	result       = regexp.MustCompile(`\) += (-?\d+)`)
	errNotOfFile = errors.New("not a file of the folder")
)

// parseCall reads one line of strace's. It returns nothing for what does not
// change the folder, and an error for what it does not understand.
func parseCall(dir, line string) ([]call, error) {
	kind, args, _ := strings.Cut(line, "(")
	end := result.FindAllStringSubmatchIndex(args, -1)
	if end == nil || harmless(kind, args) {
		return nil, nil // a signal, an exit
	}
	last := end[len(end)-1]
	p := parser{dir: dir, words: strings.Split(args[:last[0]], ", ")}
	if kind == "write" && strings.HasPrefix(p.words[0], "1<") {
		return []call{{kind: isSaid, data: p.text(1)}}, nil
	}
	failed := strings.HasPrefix(args[last[2]:], "-")
	if failed || !strings.Contains(args, escape(dir)) && kind != "sync" {
		return nil, nil
	}
	n, _ := strconv.Atoi(args[last[2]:last[3]])
	calls, err := p.parse(kind, n)
	if errors.Is(err, errNotOfFile) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("a call that the model of a power cut does not know: %w: %.300s", err, line)
	}
	return calls, nil
}

// escape writes text as strace -xx does.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, `\x%02x`, s[i])
	}
	return b.String()
}

// parser takes the arguments of one call apart.
type parser struct {
	dir   string
	words []string
}

// parse returns what the call did; result is what it returned.
func (p parser) parse(kind string, result int) ([]call, error) {
	switch kind {
	case "pwrite64":
		name, err := p.file(0)
		return []call{{kind: isWrite, name: name, data: p.text(1)[:result], off: p.number(3)}}, err
	case "write":
		name, err := p.file(0)
		return []call{{kind: isAppend, name: name, data: p.text(1)[:result]}}, err
	case "fsync", "fdatasync":
		if p.path(0) == p.dir {
			return []call{{kind: isSyncDir}}, nil
		}
		name, err := p.file(0)
		return []call{{kind: isSync, name: name}}, err
	case "ftruncate":
		name, err := p.file(0)
		return []call{{kind: isTruncate, name: name, off: p.number(1)}}, err
	case "fallocate":
		if p.words[1] != "0" {
			return nil, fmt.Errorf("fallocate of mode %s", p.words[1])
		}
		name, err := p.file(0)
		return []call{{kind: isExtend, name: name, off: p.number(2) + p.number(3)}}, err
	case "openat":
		return p.parseOpen()
	case "linkat":
		return p.parseRename(isLink)
	case "renameat", "renameat2":
		return p.parseRename(isRename)
	case "unlinkat":
		name, err := p.fileAt(0)
		return []call{{kind: isUnlink, name: name}}, err
	}
	return nil, errors.New(kind)
}

func (p parser) parseOpen() ([]call, error) {
	name, err := p.fileAt(0)
	if flags := p.words[2]; strings.Contains(flags, "SYNC") {
		return nil, errors.New(flags)
	} else if !strings.Contains(flags, "O_TRUNC") {
		return []call{{kind: isCreate, name: name}}, err
	}
	return []call{{kind: isCreate, name: name}, {kind: isTruncate, name: name}}, err
}

// parseRename takes the calls that have two names.
func (p parser) parseRename(kind callKind) ([]call, error) {
	c := call{kind: kind}
	if len(p.words) > 4 && p.words[4] != "0" && p.words[4] != "RENAME_NOREPLACE" {
		if p.words[4] != "RENAME_EXCHANGE" {
			return nil, errors.New(p.words[4])
		}
		c.kind = isExchange
	}
	var from, to error
	c.name, from = p.fileAt(0)
	c.to, to = p.fileAt(2)
	if (from == nil) != (to == nil) {
		return nil, errors.New("rename over the border of the folder")
	}
	return []call{c}, from
}

// file is the name of the file whose descriptor is word i.
func (p parser) file(i int) (string, error) {
	if strings.HasSuffix(p.words[i], "(deleted)") {
		return "", errNotOfFile
	}
	return p.inDir(p.path(i))
}

// fileAt is the name of the file in the folder of word i and the path behind it.
func (p parser) fileAt(i int) (string, error) {
	path := string(p.text(i + 1))
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.path(i), path)
	}
	return p.inDir(path)
}

func (p parser) inDir(path string) (string, error) {
	if filepath.Dir(path) != p.dir {
		return "", errNotOfFile
	}
	return filepath.Base(path), nil
}

func (p parser) path(i int) string { return string(p.text(i)) }

// text is what stands in word i: "\x41" or 7<\x41>.
func (p parser) text(i int) []byte {
	s := p.words[i]
	if a := strings.IndexAny(s, `"<`); a >= 0 {
		s = strings.TrimRight(s[a+1:], `">`)
	}
	b := make([]byte, 0, len(s)/4)
	for ; len(s) >= 4 && s[:2] == `\x`; s = s[4:] {
		b, _ = hex.AppendDecode(b, []byte(s[2:4])) // strace writes nothing else
	}
	return b
}

func (p parser) number(i int) int64 {
	n, _ := strconv.ParseInt(p.words[i], 10, 64) // strace writes nothing else
	return n
}
