package vm

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// resetCuts are the most power cuts of a factory reset, and resetsBroken how many must have come
// in the middle of one.
const resetCuts, resetsBroken = 12, 3

// used is a provisioning file of a gateway whose own readings are kept.
const used = cardFile + "[ingest.host]\nevery = \"1s\"\nkeep = true\n"

// makeUsed makes a gateway that has something of everything that a reset takes, and stops it.
func (m *machine) makeUsed() {
	m.Helper()
	m.write("/var/tmp/used.toml", "root", "600", used)
	m.must("tidegate init /var/tmp/used.toml; systemctl restart tidegate")
	m.active()
	m.eventually("it has readings", "tidegate buffer peek -n 1 | grep gateway")
	m.must("systemctl stop tidegate; sync")
}

// epoch is what all epochs of a gateway's buffer begin with, and those of no other: each
// boot has one.
func (m *machine) epoch() string {
	m.Helper()
	return m.must("tidegate buffer ls -json | grep -o '\"epoch\": \"[0-9a-f]\\{6\\}'")
}

// isUsed asks for all that a reset takes, one by one, and says whether it is as it was.
// What is neither all there nor all gone is a failure.
func (m *machine) isUsed(epoch string) bool {
	m.Helper()
	var there, gone []string
	for _, what := range []string{
		"grep -q farm- /var/lib/tidegate/identity.json",
		"test -s /var/lib/tidegate/operator.json",
		"test ! -e /var/lib/tidegate/setup-code",
		"tidegate buffer ls -json | grep -qF '" + epoch + "'",
		"test -s /etc/tidegate/passwords",
		"test -s /etc/tidegate/tidegate.toml.before-init",
		"grep -qx s3cret-token /etc/credstore/tidegate/cloud.token",
		"grep -q farm- /etc/tidegate/tidegate.toml",
	} {
		if code, _ := m.try(what); code == 0 {
			there = append(there, what)
		} else {
			gone = append(gone, what)
		}
	}
	if len(there) > 0 && len(gone) > 0 {
		m.Errorf("half a reset:\n+ %s\n- %s", strings.Join(there, "\n+ "), strings.Join(gone, "\n- "))
	}
	return len(gone) == 0
}

// isNew looks at a machine after a reset, whose gateway has started.
func (m *machine) isNew() {
	m.Helper()
	if got := m.called(); !strings.HasPrefix(got, "tg-") {
		m.Errorf("it is called %q", got)
	}
	m.must("test ! -e /etc/tidegate/tidegate.toml.reset; test ! -e /var/lib/tidegate/operator.json; test -s /var/lib/tidegate/setup-code")
	if left := m.must("cd /etc/tidegate; find . | sort | xargs"); left != ". ./tidegate.toml" {
		m.Errorf("left: %s", left)
	}
	m.must("test -d /etc/credstore/tidegate && test -z \"$(ls -A /etc/credstore/tidegate)\"")
	if changed := m.must("dpkg -V tidegate | grep /etc/ || true"); changed != "" {
		m.Errorf("not as the package installs it: %s", changed)
	}
	m.owns()
}

// TestPowerCutsLeaveNoHalfReset takes the power away at any moment of a factory reset, from a disk
// with a volatile write cache. After the next start the gateway is a new one, or what it was.
func TestPowerCutsLeaveNoHalfReset(t *testing.T) {
	m := newMachine(t)
	seed := seedOf(t)
	random := rand.New(rand.NewPCG(seed, 0))
	m.boot()
	m.install(m.deb())
	m.active()
	m.shutDown()
	m.only = "systemd.unit=tidegate.service systemd.wants=vm-agent.service"
	disk, _ := m.makeVolatile(seed, false)
	m.boot()
	m.active()
	m.makeUsed()
	begun := time.Now()
	m.must("tidegate factory-reset -yes")
	whole := time.Since(begun)
	m.must("systemctl restart tidegate")
	m.active()
	m.isNew()
	m.makeUsed()
	var never, broken, over int
	for broken < resetsBroken && disk.total.Cut < resetCuts && !t.Failed() {
		epoch := m.epoch()
		m.must("tidegate factory-reset -yes >/var/tmp/reset.log 2>&1 &")
		m.pass(time.Duration(random.Int64N(int64(whole))))
		disk.awaitWrite(time.Second)
		m.pass(time.Duration(random.Int64N(int64(flushTime))))
		m.cut()
		m.boot()
		m.active()
		ended := m.must("journalctl -b --no-pager | grep -c 'reset that was interrupted is over' || true") != "0"
		switch {
		case m.isUsed(epoch):
			never++
			m.must("systemctl stop tidegate; test ! -e /etc/tidegate/tidegate.toml.reset")
			continue
		case ended:
			broken++
		default:
			over++
		}
		m.isNew()
		m.makeUsed()
	}
	if broken < resetsBroken || disk.met == 0 {
		t.Errorf("only %d of %d cuts came in the middle of a reset, and %d upon what was not flushed: nothing is proved", broken, disk.total.Cut, disk.met)
	}
	fmt.Printf("%s: %d power cuts of factory resets of %v: %d had not begun, %d were ended by the next start, %d were over; %d cuts came upon sectors that were not flushed, and %d lost some\n",
		m.arch, disk.total.Cut, whole.Round(100*time.Millisecond), never, broken, over, disk.met, disk.torn)
}
