package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/internal/conf"
)

// dataDir checks that readings can be kept where the configuration says.
func (k *checklist) dataDir(dir string, maxBytes int64) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent := existingParent(dir)
		if err := unix.Access(parent, unix.W_OK|unix.X_OK); err != nil {
			k.cannotMake(dir, parent, err)
			return
		}
		k.ok("data_dir %s does not exist yet and can be made", dir)
		k.fileSystem(parent, 0, maxBytes)
	case err != nil:
		k.fail("check the path and the permissions of the directories above", "data_dir: %v", err)
		return
	case !info.IsDir():
		k.fail("write the path of a directory", "data_dir %s is a file", dir)
		return
	default:
		k.writable(dir)
		k.fileSystem(dir, usedBytes(dir), maxBytes)
	}
}

// cannotMake says why a folder cannot be made in its parent.
func (k *checklist) cannotMake(dir, parent string, err error) {
	if errors.Is(err, unix.EROFS) {
		k.fail("mount it writable, or put data_dir on a file system that is", "data_dir %s does not exist, and %s is on a file system that is read-only", dir, parent)
		return
	}
	k.fail("make it, and give it to the user who runs the gateway", "data_dir %s does not exist, and %s is not writable", dir, parent)
}

// existingParent returns the nearest directory above path that exists.
func existingParent(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return "/"
	}
	for {
		path = filepath.Dir(path)
		if _, err := os.Stat(path); err == nil || path == "/" {
			return path
		}
	}
}

// writable writes and syncs a probe, as a commit would.
func (k *checklist) writable(dir string) {
	try := probe
	if k.offline {
		try = mayWrite
	}
	took, err := try(dir)
	if err != nil {
		k.fail("give it to the user who runs the gateway, and check that the file system is not read-only", "data_dir: %v", err)
		return
	}
	k.openToAll("data_dir", dir)
	if k.offline {
		k.ok("data_dir %s is writable", dir)
		return
	}
	k.ok("data_dir %s is writable; a sync takes %v", dir, took.Round(100*time.Microsecond))
}

// probe returns how long one write of 4 kB takes to reach the disk.
func probe(dir string) (took time.Duration, err error) {
	f, err := nameless(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	start := time.Now()
	if _, err := f.Write(make([]byte, 4096)); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}

// nameless makes a file that is gone when it is closed, and after a kill, too. Where the
// file system cannot do that it has a name, for as long as it takes to remove it.
func nameless(dir string) (*os.File, error) {
	if f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_WRONLY, 0o600); err == nil {
		return f, nil
	}
	f, err := os.CreateTemp(dir, ".check-*") // which says what is wrong, if anything is
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// fileSystem checks what is under dir, and whether the buffer, which has used
// bytes there already, has room.
func (k *checklist) fileSystem(dir string, used, maxBytes int64) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		k.warn("check the path", "the file system of data_dir is unknown: %v", err)
		return
	}
	// The type is signed, and on 32-bit machines its upper half is cut off.
	if name, doubt := fileSystemKind(uint32(st.Type)); doubt != "" {
		k.warn("put data_dir on a local disk with ext4, f2fs or xfs", "data_dir is on %s: %s", name, doubt)
	} else {
		k.ok("data_dir is on %s", name)
	}
	k.room(int64(st.Bavail)*int64(st.Bsize), used, maxBytes)
}

// room compares what is free, and what the buffer has already, with what it may
// take.
func (k *checklist) room(free, used, maxBytes int64) {
	want, have := conf.Size(maxBytes).Approx(), conf.Size(free+used).Approx()
	switch {
	case free+used < buffer.MinBytes:
		k.fail("make room, or put data_dir on a larger disk", "data_dir has room for %s, and the buffer needs %v", have, conf.Size(buffer.MinBytes))
	case free+used < maxBytes:
		k.warn("lower buffer.max_bytes, or make room", "buffer.max_bytes is %s, and data_dir has room for %s", want, have)
	default:
		k.ok("the buffer may take %s, and there is room for %s", want, have)
	}
}

// usedBytes is what the files in dir take. What cannot be read counts nothing.
func usedBytes(dir string) (sum int64) {
	filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	return sum
}

// fileSystemKind names a file system by its magic number and says why an fsync
// on it may be worth less than a receipt promises; "" if nothing speaks against
// it.
func fileSystemKind(magic uint32) (name, doubt string) {
	const (
		volatile = "it is lost when the power goes"
		remote   = "whether a sync reaches a disk is up to a server that may be away"
		fragile  = "it has no journal, and a power cut can damage all of it"
	)
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", ""
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs", ""
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", ""
	case unix.XFS_SUPER_MAGIC:
		return "xfs", ""
	case ubifsMagic:
		return "ubifs", ""
	case unix.TMPFS_MAGIC:
		return "tmpfs", volatile
	case unix.RAMFS_MAGIC:
		return "ramfs", volatile
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs", "it may be the throw-away layer of a container or of a read-only root"
	case unix.NFS_SUPER_MAGIC:
		return "NFS", remote
	case unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.SMB_SUPER_MAGIC:
		return "SMB", remote
	case unix.FUSE_SUPER_MAGIC:
		return "FUSE", "whether a sync reaches the disk is up to its driver"
	case unix.V9FS_MAGIC:
		return "9p", remote
	case unix.MSDOS_SUPER_MAGIC:
		return "FAT", fragile
	case unix.EXFAT_SUPER_MAGIC:
		return "exFAT", fragile
	}
	return "a file system that is not known here", "whether it survives a power cut is unknown"
}

// ubifsMagic is UBIFS_SUPER_MAGIC of linux/magic.h, which x/sys lacks.
const ubifsMagic = 0x24051905
