package daemon

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// errRestart means that a configuration is fine, and takes a restart.
var errRestart = errors.New("cannot change while the gateway runs")

// mayBecome returns an error that names what of next needs a restart: what lives as
// long as the process was made of it.
func (c Config) mayBecome(next Config) error {
	var keys []string
	for _, k := range []struct {
		key           string
		before, after any
	}{
		{"gateway.id", c.Gateway.ID, next.Gateway.ID},
		{"gateway.data_dir", c.Gateway.DataDir, next.Gateway.DataDir},
		{"gateway.admin_socket", c.Gateway.SocketPath(), next.Gateway.SocketPath()},
		{"[log]", c.Log, next.Log},
		{"[buffer]", c.Buffer, next.Buffer},
		{"[dashboard]", c.Dashboard, next.Dashboard},
	} {
		if !reflect.DeepEqual(k.before, k.after) {
			keys = append(keys, k.key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return fmt.Errorf("%s %w — hint: write it into the file and restart the gateway, for example with \"systemctl restart tidegate\"", strings.Join(keys, ", "), errRestart)
}
