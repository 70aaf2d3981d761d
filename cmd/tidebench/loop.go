package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// disk is a folder and the counters of the device below it.
type disk struct {
	dir     string
	stat    string // the device's file of counters
	caveat  string // what the figures do not mean
	closers []func() error
}

// openDisk makes a disk of its own for the cell: a file as a loop device with a
// file system. Without the rights to do so, it is the disk that is there, with
// everything that others write to it.
func (b *bench) openDisk(ctx context.Context) (*disk, error) {
	if os.Getuid() == 0 {
		d, err := b.openLoop(ctx)
		if err == nil {
			return d, nil
		}
		b.say("no loop device: %v", err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(b.dir, &st); err != nil {
		return nil, err
	}
	dir, remove, err := b.folder("disk")
	if err != nil {
		return nil, err
	}
	major, minor := st.Dev>>8&0xfff, st.Dev&0xff|st.Dev>>12&^0xff
	return &disk{
		dir:     dir,
		stat:    fmt.Sprintf("/sys/dev/block/%d:%d/stat", major, minor),
		caveat:  " (what others write is counted, too)",
		closers: []func() error{remove},
	}, nil
}

// loopSize is enough for two journals.
const loopSize = 256 << 20

func (b *bench) openLoop(ctx context.Context) (_ *disk, err error) {
	d := &disk{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	home, remove, err := b.folder("loop")
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, remove)
	image := filepath.Join(home, "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, loopSize)); err != nil {
		return nil, err
	}
	device, err := run(ctx, "losetup", "--find", "--show", image)
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, after("losetup", "--detach", device))
	// Blocks of 4 kB, as on any disk that is not this small, and everything
	// initialised now instead of in the background.
	if _, err := run(ctx, "mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", device); err != nil {
		return nil, err
	}
	d.dir = filepath.Join(home, "mount")
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return nil, err
	}
	if _, err := run(ctx, "mount", device, d.dir); err != nil {
		return nil, err
	}
	d.closers = append(d.closers, after("umount", d.dir))
	d.stat = filepath.Join("/sys/block", filepath.Base(device), "stat")
	return d, nil
}

// run runs a program and returns what it printed.
func run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(failed.Bytes()))
	}
	return strings.TrimSpace(string(out)), nil
}

// after returns a step of cleaning up, which has to be made in any case.
func after(name string, args ...string) func() error {
	return func() error {
		_, err := run(context.Background(), name, args...)
		return err
	}
}

func (d *disk) close() error {
	var err error
	for i := len(d.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, d.closers[i]())
	}
	return err
}

// sync brings everything to the device that is on its way.
func (d *disk) sync(ctx context.Context) error {
	_, err := run(ctx, "sync", "--file-system", d.dir)
	return err
}

// written is how many bytes the device was given since it is there.
func (d *disk) written() (int64, error) {
	stat, err := os.ReadFile(d.stat)
	if err != nil {
		return 0, err
	}
	return parseWritten(string(stat))
}

// sector is the unit of the kernel's counters, whatever the device's own is.
const sector = 512

func parseWritten(stat string) (int64, error) {
	fields := strings.Fields(stat)
	if len(fields) < 7 {
		return 0, fmt.Errorf("block stat of %d fields", len(fields))
	}
	n, err := strconv.ParseInt(fields[6], 10, 64)
	return n * sector, err
}
