package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidegate/tidegate/internal/base/whole"
	"github.com/tidegate/tidegate/internal/bootclock"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/starts"
)

// begins notes that the gateway begins, if m has not yet, before anything is opened that
// may break, and says what became of the starts before.
func (d *Daemon) begins(m *maker, dir string) {
	now := starts.Itself(Version)
	if m.begun == nil {
		var err error
		if m.begun, err = starts.Begin(dir, now, bootclock.BootID()); err != nil && !errors.Is(err, fs.ErrNotExist) { // the folder is made later
			d.log.Warn("how this start goes is not noted: a crash loop would not be told of", "err", err)
		}
	}
	d.begun = m.begun
	before := d.begun.Before
	if d.begun.Crash != "" {
		d.log.Error("the program broke down before this start", "said", d.begun.Crash, "all", filepath.Join(dir, starts.CrashFile))
	}
	switch loops := d.begun.Loops(); {
	case loops != "":
		d.log.Error(loops)
	case starts.Later(before.Last.Version, now.Version):
		d.log.Warn(lastUsedBy(before.Last), "is", now.String())
	case before.Good != nil && *before.Good != now && before.Last != now:
		d.log.Info("the program has changed", "from", before.Good.String(), "to", now.String())
	}
}

// ended notes that the gateway was told to end, if it did so in order.
func (d *Daemon) ended(err error) error {
	if err != nil {
		return err
	}
	if err := d.begun.End(); err != nil {
		d.log.Warn("that this run ended well is not noted", "err", err)
	}
	return nil
}

func lastUsedBy(p starts.Program) string {
	return fmt.Sprintf("data_dir was last used by a later version, %s: what this one cannot read of it is kept for that one", p.Version)
}

// versionProblems are about what the program was before, and is not now.
func (d *Daemon) versionProblems() (all []string) {
	if loops := d.begun.Loops(); loops != "" && !d.begun.Well() {
		if d.begun.Crash != "" {
			loops = strings.Replace(loops, " — hint: ", fmt.Sprintf(", at last with %q — hint: ", d.begun.Crash), 1)
		}
		all = append(all, loops)
	}
	if n := d.buffer.Stats().Later; n > 0 {
		all = append(all, fmt.Sprintf("%s of readings are of a later version of the program: they are kept, and not delivered — hint: install that version again, and it delivers them",
			conf.Size(n).Approx()))
	}
	return all
}

// starts looks at how the last starts went, and at who used data_dir before.
func (k *checklist) starts(dir, socket string, itself starts.Program) {
	record, err := starts.Read(dir)
	if conn, err := net.Dial("unix", socket); err == nil {
		conn.Close()
		record.Failed-- // the one that goes on
	}
	switch {
	case err != nil:
		k.warn("it is read and written by the gateway alone; what it cannot read it begins anew, or leaves to a later version", "data_dir: %v", err)
	case starts.Later(record.Last.Version, itself.Version):
		k.warn("install that version again, or read docs/operate/upgrade.md on going back", "%s", lastUsedBy(record.Last))
	}
	if later := laterFiles(dir); len(later) > 0 {
		k.warn("they are for that version; when nobody will install it again, they can be deleted", "data_dir has files that a later version left: %s", strings.Join(later, ", "))
	}
	if loops := record.Loops(record.Last); loops != "" {
		what, hint, _ := strings.Cut(loops, " — hint: ")
		if said := starts.FirstWords(dir); said != "" {
			what += fmt.Sprintf("; it last broke down with %q", said)
		}
		k.warn(hint, "the gateway does not get on its legs: %s", what)
	}
}

// laterFiles are those in data_dir that were set aside for a later version.
func laterFiles(dir string) (names []string) {
	for _, folder := range []string{dir, filepath.Join(dir, "journal"), filepath.Join(dir, "links")} {
		entries, _ := os.ReadDir(folder) // what is not there has none
		for _, e := range entries {
			if strings.Contains(e.Name(), whole.Later) {
				names = append(names, filepath.Join(folder, e.Name()))
			}
		}
	}
	return names
}
