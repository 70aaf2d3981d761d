package vm

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// disk is what a machine boots from.
type disk interface {
	// drive is what qemu is told.
	drive() string
	// cut is what a power cut does to it. Nobody uses it then.
	cut()
}

// plainDisk is a file: what the machine has written is there, flushed or not.
type plainDisk struct{ file string }

func (d plainDisk) drive() string { return "format=raw,cache=writeback,file=" + d.file }
func (d plainDisk) cut()          {}

// newPlainDisk returns a copy of the image's disk.
func (m *machine) newPlainDisk() plainDisk {
	m.Helper()
	d := plainDisk{m.file("root.ext4")}
	m.copyDisk(filepath.Join(m.image, "root.ext4"), d.file)
	return d
}

func (m *machine) copyDisk(from, to string) {
	m.Helper()
	if out, err := exec.Command("cp", "--sparse=always", "--reflink=auto", from, to).CombinedOutput(); err != nil {
		m.Fatalf("copy of the disk: %v\n%s", err, out)
	}
}

// flushTime is that of a bad card: a machine that waits for a flush most of the time is cut in one
// most of the time.
const flushTime = 100 * time.Millisecond

// volatileDisk has a write cache that a power cut empties: of the sectors that were
// not flushed, it keeps some.
type volatileDisk struct {
	*testing.T
	socket, control string
	server          *exec.Cmd
	total           cutReport
	met, torn       int // cuts that came upon something that was not flushed, and that lost some of it
}

// cutReport is what a cut has done: sectors that were not flushed, and what became
// of them; and what the machine has asked for since the cut before.
type cutReport struct{ Unflushed, Kept, Lost, Writes, Flushes, Cut int }

// makeVolatile puts the machine's plain disk, which is off, behind a volatile cache. A disk that
// lies answers flushes, does nothing, and forgets everything in a cut. The function that it returns writes
// everything and makes it the plain disk again.
func (m *machine) makeVolatile(seed uint64, lies bool) (*volatileDisk, func()) {
	m.Helper()
	keep := -1 // at random
	if lies {
		keep = 0 // nothing since it was switched on: an old state, but a whole one, which starts
	}
	plain := m.disk.(plainDisk)
	d := &volatileDisk{T: m.T, socket: m.file("nbd"), control: m.file("cut")}
	d.server = exec.Command(m.build("volatile"), "-disk", plain.file, "-socket", d.socket, "-control", d.control,
		fmt.Sprintf("-seed=%d", seed), fmt.Sprintf("-lie=%t", lies),
		fmt.Sprintf("-keep=%d", keep), "-flush="+flushTime.String())
	d.server.Stderr = os.Stderr
	d.server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := d.server.StdoutPipe()
	if err != nil {
		m.Fatal(err)
	}
	if err := d.server.Start(); err != nil {
		m.Fatal(err)
	}
	said := bufio.NewScanner(out)
	if !said.Scan() {
		m.Fatal("the volatile disk did not start")
	}
	m.Logf("volatile disk: %s", strings.TrimPrefix(said.Text(), m.dir))
	ended := make(chan error, 1)
	go func() {
		for said.Scan() {
		}
		ended <- d.server.Wait()
	}()
	m.disk = d
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		d.server.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			m.Errorf("volatile disk: %v", err)
		}
		m.disk = plain
	}
	m.Cleanup(func() { m.cut(); stop() })
	return d, stop
}

func (d *volatileDisk) drive() string {
	return "driver=raw,cache.direct=off,cache.no-flush=off,file.driver=nbd,file.server.type=unix,file.server.path=" + d.socket
}

// ask has the disk do something, or say how it is, and returns what it says.
func (d *volatileDisk) ask(what string) cutReport {
	d.Helper()
	conn, err := net.Dial("unix", d.control)
	if err != nil {
		d.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintln(conn, what)
	var r struct {
		cutReport
		Error string
	}
	if err := json.NewDecoder(conn).Decode(&r); err != nil || r.Error != "" {
		d.Fatalf("%s: %v %s", what, err, r.Error)
	}
	return r.cutReport
}

// awaitWrite waits until there is something that is not flushed: a cut at another time
// takes nothing away that a kill would not.
func (d *volatileDisk) awaitWrite(atMost time.Duration) {
	d.Helper()
	late, look := time.After(atMost), time.NewTicker(5*time.Millisecond)
	defer look.Stop()
	for d.ask("state").Unflushed == 0 {
		select {
		case <-look.C:
		case <-late:
			return
		}
	}
}

// cut lets the disk forget, and adds up what it says.
func (d *volatileDisk) cut() {
	d.Helper()
	r := d.ask("cut")
	d.total.Unflushed += r.Unflushed
	d.total.Kept += r.Kept
	d.total.Lost += r.Lost
	d.total.Writes += r.Writes
	d.total.Flushes += r.Flushes
	d.total.Cut++
	if r.Unflushed > 0 {
		d.met++
	}
	if r.Lost > 0 {
		d.torn++
	}
}
