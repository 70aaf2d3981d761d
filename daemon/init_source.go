package daemon

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tidegate/tidegate/internal/base/whole"
	"github.com/tidegate/tidegate/internal/erase"
	"github.com/tidegate/tidegate/internal/ontrial"
	"github.com/tidegate/tidegate/internal/passwd"
)

// The names on a boot partition: what is applied, what is left of it, what was told
// about it, and what is about to be erased.
const (
	initName  = "tidegate-init.toml"
	initDone  = "tidegate-init.done"
	initLog   = "tidegate-init.log"
	initSpent = "tidegate-init.spent"

	initCredential = "tidegate.init" // of systemd
	// appliedFile, in data_dir, knows the file that was applied and could not be
	// taken away.
	appliedFile = "init-applied"
)

// initSource is where a provisioning file comes from.
type initSource struct {
	path string
	// boot says that it is to be taken away from where it is, and told there.
	boot bool
	// again says that whoever calls wants it applied, whether it was before or not.
	again bool
}

// findInit returns the first provisioning file that there is: systemd's credential, then
// those on boot partitions; an empty source for none. Editors on Windows add .txt to the
// name, which Windows does not show: nobody would find out why nothing happens.
func findInit(credentials string, boots []string) initSource {
	var all []initSource
	if credentials != "" {
		all = append(all, initSource{path: filepath.Join(credentials, initCredential)})
	}
	for _, dir := range boots {
		all = append(all, initSource{path: filepath.Join(dir, initName), boot: true}, initSource{path: filepath.Join(dir, initName+".txt"), boot: true})
	}
	for _, s := range all {
		if _, err := os.Lstat(s.path); err == nil {
			return s
		}
	}
	return initSource{}
}

// eraseSpent ends what a power cut has interrupted.
func eraseSpent(boots []string) {
	for _, dir := range boots {
		if isRegular(filepath.Join(dir, initSpent)) {
			_ = erase.Path(dir, initSpent) // nothing else would be done about it
		}
	}
}

func isRegular(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

// digest is what appliedFile knows a text by.
func digest(text []byte) []byte {
	sum := sha256.Sum256(text)
	return []byte(hex.EncodeToString(sum[:]))
}

// applied says whether this text was the last that was applied.
func (s initSource) applied(dataDir string, text []byte) bool {
	hashed, err := ontrial.Read(filepath.Join(dataDir, appliedFile))
	if s.again || err != nil {
		return false
	}
	is, err := passwd.ParseHash(string(bytes.TrimSpace(hashed)))
	return err == nil && is(digest(text))
}

// remember makes applied true. Secrets in the text cannot be guessed by what is kept any
// quicker than a password.
func (p provision) remember(g ground, text []byte) error {
	dir := p.cfg.Gateway.DataDir
	if err := g.makeState(dir); err != nil {
		return err
	}
	return whole.Write(filepath.Join(dir, appliedFile), append([]byte(passwd.Hash(digest(text))), '\n'), g.state)
}

// finish takes the file away from a boot partition and leaves one without secrets, or,
// where that is not to be or does not work, remembers that it was applied.
func (s initSource) finish(p provision, g ground, text []byte) error {
	if s.again {
		return nil
	}
	if !s.boot {
		return p.remember(g, text)
	}
	if err := s.take(p); err != nil {
		return errors.Join(err, p.remember(g, text))
	}
	return nil
}

// take takes the file away from a boot partition.
func (s initSource) take(p provision) error {
	dir := filepath.Dir(s.path)
	err := whole.Write(filepath.Join(dir, initDone), p.done, whole.Mine(0o600))
	if err == nil {
		if err = os.Rename(s.path, filepath.Join(dir, initSpent)); err == nil {
			err = errors.Join(whole.SyncFolder(dir), erase.Path(dir, initSpent))
		}
	}
	if err != nil {
		return fmt.Errorf("%s stays as it is, with its secrets: %w — hint: mount %s to be written, or delete the file", s.path, err, dir)
	}
	return nil
}

// tell leaves beside the file what was told: somebody may put the card into another
// computer to see why it did not work.
func (s initSource) tell(said []byte, now time.Time) error {
	if !s.boot {
		return nil
	}
	text := fmt.Appendf(nil, "%s by this machine's clock, tidegate %s\n%s", now.UTC().Format("2006-01-02 15:04:05 UTC"), Version, said)
	return whole.Write(filepath.Join(filepath.Dir(s.path), initLog), text, whole.Mine(0o600))
}
