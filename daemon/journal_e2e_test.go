package daemon

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/internal/journal"
)

// TestWithoutAJournalItsStreamHasPriorities has a gateway believe that systemd has
// started it, on a machine where no journal is, or a stream that nobody reads.
func TestWithoutAJournalItsStreamHasPriorities(t *testing.T) {
	if _, err := os.Stat(journal.Socket); err == nil {
		t.Skip("this machine has a journal, and would be told")
	}
	s := newSite(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := os.NewFile(uintptr(fds[0]), "stderr"), os.NewFile(uintptr(fds[1]), "journal")
	defer ours.Close()
	var is unix.Stat_t
	if err := unix.Fstat(fds[0], &is); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", is.Dev, is.Ino))
	p := s.startWith("tidegate", theirs, "run", "-config", s.configFile())
	theirs.Close()
	lines := bufio.NewScanner(ours)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "<6>gateway runs (gateway=") {
		if !strings.HasPrefix(lines.Text(), "<") {
			t.Errorf("a line without a priority: %q", lines.Text())
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	ours.Close() // nobody reads any more: that is no reason to end
	p.signal(syscall.SIGHUP)
	p.signal(syscall.SIGTERM)
	if state := p.waitExit(patience); !state.Success() {
		t.Errorf("it ended with %v", state)
	}
}
