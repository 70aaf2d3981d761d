package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tidegate/tidegate/internal/base/whole"
	"github.com/tidegate/tidegate/internal/login"
	"github.com/tidegate/tidegate/internal/passwd"
)

// beforeInit is what the name of the configuration ends in that was there before.
const beforeInit = ".before-init"

// initStep is one thing that is written, whole or not at all. What is written later may
// need what is written before, and all may be done twice: so a power cut in between, and
// the same file at the next boot, are as if nothing had happened.
type initStep struct {
	what string // as in "wrote ..."
	do   func() error
}

// ground is where a provision is put.
type ground struct {
	config string   // the path of the configuration
	own    whole.As // whose the configuration is, or is to be
	state  whole.As // whose what is in data_dir is to be
	root   whole.As // whose secrets are
	now    []byte   // the text of the configuration; nil for none
	// chosen says that the user of the configuration, who is not root, has said where
	// data_dir is.
	chosen bool
}

// survey finds out what there is. It follows no link: whoever may write the folder must
// not choose which files root writes.
func survey(config, dataDir string) (ground, error) {
	g := ground{config: config, own: whole.Mine(0o640), state: whole.Mine(0o600), root: whole.Mine(0o600)}
	text, is, err := readOwned(config)
	if g.now = text; errors.Is(err, fs.ErrNotExist) {
		if is, err = folderOf(dataDir); err != nil {
			is.UID, is.GID, g.own.Mode = -1, -1, 0o644 // whoever the gateway runs as must read it
		}
		g.now, is.Mode = nil, g.own.Mode
	} else if err != nil {
		return g, err
	}
	if g.own.Mode = is.Mode; os.Geteuid() == 0 {
		g.own, g.root.UID, g.root.GID = is, 0, 0
		g.state.UID, g.state.GID = is.UID, is.GID
		if of, err := folderOf(dataDir); err == nil {
			g.state.UID, g.state.GID = of.UID, of.GID
		}
	}
	return g, nil
}

// beside is a name in the folder of the configuration.
func (g ground) beside(names ...string) string {
	return filepath.Join(append([]string{filepath.Dir(g.config)}, names...)...)
}

// steps are what there is to do, the configuration last: nothing that it names is missing
// when it counts.
func (p provision) steps(g ground) []initStep {
	var all []initStep
	add := func(what string, do func() error) { all = append(all, initStep{what, do}) }
	for _, name := range slices.Sorted(maps.Keys(p.Credential)) {
		path, text := filepath.Join(credentialStore(g.config), name), p.Credential[name]
		add(fmt.Sprintf("%s (a secret)", path), func() error {
			if err := g.credentials(); err != nil {
				return err
			}
			return whole.Write(path, []byte(text), g.root)
		})
	}
	for _, name := range slices.Sorted(maps.Keys(p.File)) {
		path, text := g.beside(name), p.File[name]
		add(fmt.Sprintf("%s (%d bytes)", path, len(text)), func() error {
			return whole.Write(path, []byte(text), whole.As{Mode: 0o644, UID: g.root.UID, GID: g.root.GID})
		})
	}
	if len(p.Users) > 0 {
		add(fmt.Sprintf("%s (%s)", p.cfg.Ingest.MQTT.PasswordFile, count(uint64(len(p.Users)), "user")), func() error { return p.writeUsers(g) })
	}
	if len(p.Operator) > 0 {
		add("the operator's password", func() error { return p.writeOperator(g) })
	}
	if p.config != nil && !bytes.Equal(p.config, g.now) {
		what := g.config
		if g.now != nil {
			what += "; it was what " + filepath.Base(g.config) + beforeInit + " is now"
		}
		add(what, func() error { return p.writeConfig(g) })
	}
	return all
}

// credentials makes the folder for secrets. One that somebody else has made is his.
func (g ground) credentials() error {
	path := credentialStore(g.config)
	if err := os.Mkdir(filepath.Dir(path), 0o700); err == nil {
		if err := whole.SyncFolder(filepath.Dir(filepath.Dir(path))); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err == nil {
		return whole.SyncFolder(filepath.Dir(path))
	}
	is, kind, err := ownerOf(path)
	if err == nil && (kind != fs.ModeDir || is.UID != os.Geteuid()) {
		err = fmt.Errorf("%s is no folder of this user, so what is in it is no secret — hint: look who made it, and remove it", path)
	}
	return err
}

func (p provision) writeUsers(g ground) error {
	var text []byte
	for _, user := range slices.Sorted(maps.Keys(p.Users)) {
		line, err := passwd.Line(user, p.Users[user])
		if err != nil {
			return err
		}
		text = append(append(text, line...), '\n')
	}
	return whole.Write(p.cfg.Ingest.MQTT.PasswordFile, text, whole.As{Mode: 0o640, UID: g.root.UID, GID: g.own.GID})
}

func (p provision) writeOperator(g ground) error {
	dir := p.cfg.Gateway.DataDir
	hashed, given := p.Operator["password_hash"]
	if !given {
		hashed = passwd.Hash([]byte(p.Operator["password"]))
	}
	name, text, err := login.Kept(hashed, time.Now())
	if err == nil {
		err = g.makeState(dir)
	}
	if err != nil {
		return err
	}
	return whole.Write(filepath.Join(dir, name), text, g.state)
}

// makeState makes data_dir, which the gateway otherwise does. Root makes no folder, and
// writes into none of others, because the gateway's user says so.
func (g ground) makeState(dir string) error {
	is, err := folderOf(dir)
	if g.chosen && (err != nil || is.UID != g.own.UID) {
		return fmt.Errorf("data_dir is %s, which is no folder of the user who has written the configuration — hint: start the gateway first, or write [gateway] data_dir into the provisioning file", dir)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	return errors.Join(os.Chown(dir, g.state.UID, g.state.GID), whole.SyncFolder(filepath.Dir(dir)))
}

func (p provision) writeConfig(g ground) error {
	if g.now != nil {
		if err := whole.Write(g.config+beforeInit, g.now, g.own); err != nil {
			return err
		}
	}
	return whole.Write(g.config, p.config, g.own)
}
