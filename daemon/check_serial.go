package daemon

import (
	"errors"
	"strings"

	"github.com/tidegate/tidegate/internal/netcheck"
	"github.com/tidegate/tidegate/internal/serialport"
)

// serial looks at the ports of all doors that have one. It opens none: opening
// resets many boards.
func (k *checklist) serial(lines []lineUse, adminSocket string, host serialport.Host) {
	if len(lines) == 0 {
		return
	}
	infos, running := k.whoHas(host, adminSocket)
	taken := map[string]string{} // devices, and the keys that lead to them
	for _, l := range lines {
		place, err := host.Resolve(l.port)
		if err != nil {
			k.absentPort(l, err)
			continue
		}
		if other := taken[place.Device]; other != "" {
			k.fail("let one door have it", "%s and %s are two names of %s", other, l.key, place.Device)
			continue
		}
		taken[place.Device] = l.key
		k.presentPort(l, place, infoOf(infos, place.Device), running)
	}
}

// whoHas lists the ports and who uses them, and says whether the gateway runs, which may
// be one of those. It looks at every process of the machine.
func (k *checklist) whoHas(host serialport.Host, adminSocket string) (infos []serialport.Info, running bool) {
	if k.offline {
		return nil, false
	}
	infos, err := host.List()
	if err != nil {
		k.warn("is /sys mounted?", "serial ports cannot be looked at: %v", err)
	}
	return infos, answers(adminSocket)
}

func infoOf(infos []serialport.Info, device string) serialport.Info {
	for _, i := range infos {
		if i.Device == device {
			return i
		}
	}
	return serialport.Info{Device: device}
}

func (k *checklist) absentPort(l lineUse, err error) {
	what, hint := netcheck.Cut(err)
	if errors.Is(err, serialport.ErrAbsent) {
		if k.offline {
			return // adapters take their time after a boot
		}
		k.warn(hint, "%s: %s now; the gateway waits for it", l.key, what)
		return
	}
	k.fail(hint, "%s: %s", l.key, what)
}

// presentPort looks at a port whose device is there.
func (k *checklist) presentPort(l lineUse, place serialport.Place, info serialport.Info, running bool) {
	switch by := info.UsedBy; {
	case !serialport.MayOpen(place.Device):
		k.fail("add the gateway's user to the group "+serialport.GroupOf(place.Device), "%s: this user may not open %s", l.key, place.Device)
	case info.Console:
		k.fail("take console="+strings.TrimPrefix(place.Device, "/dev/")+" out of the kernel's command line", "%s: the kernel writes its messages to %s", l.key, place.Device)
	case by != "" && !(running && strings.HasPrefix(by, "tidegate ")):
		k.fail("stop that program, or choose another port", "%s: %s is in use by %s", l.key, place.Device, by)
	case place.ByID && info.Twin:
		k.fail(`write port = "`+info.Best()+`"`, "%s: two adapters have the name %s, for want of serial numbers of their own", l.key, l.port)
	case place.Kernel && info.Vendor != "":
		k.warn(`write port = "`+info.Best()+`"`, "%s: %s is the name of whatever is plugged in first", l.key, l.port)
	case place.Identity == serialport.Identity{}:
		k.ok("%s: %s is there", l.key, place.Device)
	default:
		k.ok("%s: %s is there (%s)", l.key, place.Device, place.Identity)
	}
}
