package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/internal/conf"
)

// byCredential is what a key that names a file begins with when it names a credential
// of the service manager instead: token_file = "credential:cloud.token".
const byCredential = "credential:"

// credentials are the places where they may be, a file each.
type credentials struct {
	given string // the folder that systemd has made for this process; empty for none
	unit  string // the one that it makes for the unit, for commands that run beside it
	store string // where they come from, which only root may read
}

func machineCredentials() credentials {
	return credentials{os.Getenv("CREDENTIALS_DIRECTORY"), "/run/credentials/tidegate.service", credentialStore(defaultConfig)}
}

// credentialStore is the folder of secrets that belongs to a configuration:
// /etc/credstore/tidegate, in the place that systemd.exec(5) recommends. It is not below
// the configuration's folder, which is the gateway's: who took the gateway over could
// put a link there, and systemd would read for it what only root may.
func credentialStore(config string) string {
	if all, err := filepath.Abs(config); err == nil {
		config = all
	}
	of := filepath.Dir(config)
	return filepath.Join(filepath.Dir(of), "credstore", filepath.Base(of))
}

// handed is the file that systemd makes of one of the store: the unit loads the whole
// folder under the name tidegate.
func handed(dir, name string) string { return filepath.Join(dir, "tidegate_"+name) }

// resolve puts the files in the place of the credentials that c names.
func (c *Config) resolve(from credentials, r refuse) {
	conf.Texts(c, func(path, text string) string {
		name, ok := strings.CutPrefix(text, byCredential)
		if !ok || !isFileKey(path[strings.LastIndexByte(path, '.')+1:]) {
			return text
		}
		file, err := from.file(name)
		if err != nil {
			r.because(path, err)
		}
		return file
	})
}

// isFileKey says whether a key names a file that is read.
func isFileKey(key string) bool { return isPathKey(key) && key != "dir" && key != "port" }

// maxCredential bounds a name, so that it is a file's with what systemd puts before it.
const maxCredential = 200

// file returns the file of a credential. Whether somebody who may not look has it is
// not known, and no error.
func (c credentials) file(name string) (string, error) {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	if name == "" || len(name) > maxCredential || name[0] == '.' || strings.Trim(name, allowed) != "" {
		return "", fmt.Errorf("%q is no name of a credential — hint: letters, digits, dots, - and _, as of a file in %s", name, c.store)
	}
	all := []string{handed(c.unit, name), filepath.Join(c.store, name)}
	if c.given != "" {
		all = []string{handed(c.given, name)}
	}
	for _, file := range all {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return file, nil
		}
	}
	return all[len(all)-1], fmt.Errorf("there is no credential %q — hint: write it into %s, owner root, mode 0600, and restart the gateway, which is given its credentials when it starts",
		name, filepath.Join(c.store, name))
}

// source is the file that a credential comes from: what systemd has made of it cannot be
// changed, or only until the next start. Other files are their own.
func (c credentials) source(file string) (string, bool) {
	name, ok := strings.CutPrefix(filepath.Base(file), handed("", ""))
	if dir := filepath.Dir(file); ok && (dir == c.given || dir == c.unit) {
		return filepath.Join(c.store, name), true
	}
	return file, filepath.Dir(file) == c.store
}

// has says whether a file is a credential of the gateway.
func (c credentials) has(file string) bool {
	return slices.Contains([]string{c.given, c.unit, c.store}, filepath.Dir(file))
}
