package daemon

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
)

// Ports implements api.SerialPorts.
func (w *workbench) Ports() ([]api.SerialPort, error) {
	infos, err := w.host.List()
	if err != nil {
		return nil, fmt.Errorf("%w — hint: is /sys mounted?", err)
	}
	all := []api.SerialPort{}
	for _, i := range infos {
		p := api.SerialPort{Info: i, Configure: i.Best(), Door: w.doorAt(i.Device), Task: w.taskAt(i.Device)}
		p.Title = strings.TrimSpace(cmp.Or(i.Description, i.Driver, filepath.Base(i.Device)) + " " + i.Serial)
		p.Facts, p.Settings = strings.Join(portFacts(p), ", "), w.settingsAt(p)
		all = append(all, p)
	}
	return all, nil
}

// doorAt returns the door that is configured to be at a device.
func (w *workbench) doorAt(device string) string {
	for _, d := range w.here.settings().portDoors() {
		if place, err := w.host.Resolve(d.port.Path); err == nil && place.Device == device {
			return d.name
		}
	}
	return ""
}

// settingsAt are the settings that a line probably has, "" if nothing is known.
func (w *workbench) settingsAt(p api.SerialPort) string {
	for _, d := range w.here.settings().portDoors() {
		if d.name == p.Door {
			return d.port.String()
		}
	}
	if f, known := w.recall(p.Configure); known && f.probed != nil && f.probed.Best.Likely {
		return f.probed.Best.Setting
	}
	return ""
}

func (w *workbench) taskAt(device string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.tasks[device]; t != nil {
		return t.what
	}
	return ""
}

// watchEvery is how often it is looked what is plugged in while somebody watches.
const watchEvery = time.Second

// WatchPorts implements api.SerialPorts.
func (w *workbench) WatchPorts(ctx context.Context, tell func(api.SerialPortList) error) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var told []api.SerialPort
	for quiet := 0; ; quiet++ {
		all, err := w.Ports()
		if err != nil {
			return err
		}
		// What has not changed is told now and then, to see whether anybody listens.
		if told == nil || !reflect.DeepEqual(all, told) || quiet >= watchQuiet {
			if err := tell(api.SerialPortList{Ports: all}); err != nil {
				return err
			}
			told, quiet = all, 0
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// watchQuiet is after how many looks the list is told again that has not changed.
const watchQuiet = 15
