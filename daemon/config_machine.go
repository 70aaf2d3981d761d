package daemon

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/internal/conf"
)

// errMachine means that a configuration is fine, and not for everybody to set.
var errMachine = errors.New("cannot be set from the page, which has no more of the machine than its readings")

// mayBecomeFromAfar returns an error that names what of next only somebody with access
// to the machine itself may set. Whoever operates the page operates the gateway, and is
// not to get a program run by that, files read that are not the gateway's, or folders
// written: the content of a file that a key names goes to wherever an uplink sends it.
// What is configured already stays allowed, and so is what lies beside file, the
// configuration's, or where readings are taken away from, and what the machine's owner
// has handed to the gateway as a credential.
func (c Config) mayBecomeFromAfar(next Config, file string) error {
	var all []string
	if g := next.Gateway; len(g.Identify) > 0 && !slices.Equal(g.Identify, c.Gateway.Identify) {
		all = append(all, "gateway.identify")
	}
	known := c.reaches()
	for _, r := range next.reaches() {
		if !slices.Contains(known, r) && !r.isNear(file) {
			all = append(all, fmt.Sprintf("%s = %q", r.key, r.path))
		}
	}
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("%s %w — hint: put files beside the configuration, or use \"tidegate apply\" on the gateway itself", strings.Join(all, ", "), errMachine)
}

// reach is a path by which a configuration reaches into the machine.
type reach struct{ key, path string }

// reaches are all of them.
func (c Config) reaches() (all []reach) {
	conf.Show(c, Default(), func(key, text string) string {
		if text != "" && isPathKey(key) {
			all = append(all, reach{key, text})
		}
		return text
	})
	return all
}

func isPathKey(key string) bool {
	return strings.HasSuffix(key, "_file") || slices.Contains([]string{"tls_ca", "tls_cert", "tls_key", "client_ca", "server_ca", "dir", "port"}, key)
}

// isNear says whether anybody who operates the gateway may have it reach there: files
// beside its configuration and credentials, folders on media, ports of devices.
func (r reach) isNear(file string) bool {
	if isFileKey(r.key) && machineCredentials().has(r.path) {
		return true
	}
	roots := []string{filepath.Dir(file)}
	switch r.key {
	case "dir":
		roots = []string{"/media", "/run/media", "/mnt"}
	case "port":
		if strings.HasPrefix(filepath.Clean(r.path), "/dev/tty") {
			return true
		}
		roots = []string{"/dev/serial"}
	}
	return slices.ContainsFunc(roots, func(root string) bool {
		return filepath.IsAbs(r.path) && strings.HasPrefix(filepath.Clean(r.path), strings.TrimSuffix(filepath.Clean(root), "/")+"/")
	})
}
